"""The state shard: owner of the keys whose hash falls to it."""

from collections.abc import Callable

from actors import Address
from kissvdb.core.state.rules import Item, StateBatch
from kissvdb.engine.documents.pending import DocumentTap
from kissvdb.engine.owner import Owner
from kissvdb.engine.quotas.quotas import Quotas
from kissvdb.engine.state.view import FULL, StateView
from kissvdb.metrics import Metrics
from kissvdb.records import KeyDeleted, KeyWritten


class StateShard(Owner[StateBatch]):
    """Owns the keys of one view."""

    answers_late = True

    def __init__(
        self,
        view: StateView,
        log: Address,
        committed_offset: Callable[[], int],
        clock_ms: Callable[[], int],
        metrics: Metrics,
        *,
        json_bytes_max: int,
        mailbox_size: int,
        name: str,
        documents: DocumentTap,
        quotas: Quotas | None = None,
        place: int = 0,
    ) -> None:
        """``place``: which of the shards it is."""
        super().__init__(log, committed_offset)
        self.view = view
        self.name = name
        self.mailbox_size = mailbox_size
        self._clock_ms = clock_ms
        self._metrics = metrics
        self._json_bytes_max = json_bytes_max
        self._documents = documents
        self._quotas = Quotas() if quotas is None else quotas
        self._place = place

    async def _make_room(self) -> None:
        if self.view.is_full(FULL) or self._documents.is_full():
            self._tell()
        await self.view.wait_for_room()
        await self._documents.wait_for_room()

    def _batch(self) -> StateBatch:
        batch = StateBatch(
            self.view.get,
            self.view.operation,
            self._clock_ms(),
            json_bytes_max=self._json_bytes_max,
            admit=self._documents.admit,
            absent=self.view.absent,
            known=self.view.known,
        )
        batch.growth = self._quotas.growth()
        return batch

    def _install(self, first_offset: int, decided: StateBatch) -> None:
        records = decided.records
        self._quotas.install(self._place, self.view, records)
        self.view.apply(first_offset, records, decided.runs)
        if decided.holds_documents:
            self._documents.installed(first_offset, records, decided.runs)
        kinds = list(map(type, records))
        self._metrics.state_put_total.inc(kinds.count(KeyWritten))
        self._metrics.state_delete_total.inc(kinds.count(KeyDeleted))

    def _expire(self, decided: StateBatch, limit: int) -> None:
        decided.expire(self.view.expired(self._clock_ms(), limit))


def live(item: Item | None, now_ms: int) -> Item | None:
    """The item, unless its time has come."""
    if item is None or (item.expires_at_ms is not None and item.expires_at_ms <= now_ms):
        return None
    return item
