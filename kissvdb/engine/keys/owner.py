"""The one who issues and revokes keys."""

from collections.abc import Callable

from actors import Address
from kissvdb.core.keys.rules import KeyBatch
from kissvdb.engine.keys.key_store import KeyStore
from kissvdb.engine.owner import Owner


class KeyOwner(Owner[KeyBatch]):
    """Decides, logs and applies what changes keys, then tells ``changed``: on the loop, before the
    answer, so that who revokes a key finds its streams ended."""

    name = "keys"

    def __init__(
        self,
        store: KeyStore,
        log: Address,
        committed_offset: Callable[[], int],
        clock_ms: Callable[[], int],
        *,
        keys_max: int,
        changed: Callable[[], None],
    ) -> None:
        super().__init__(log, committed_offset)
        self._store = store
        self._clock_ms = clock_ms
        self._keys_max = keys_max
        self._changed = changed

    def _batch(self) -> KeyBatch:
        return KeyBatch(self._store.view, self._keys_max)

    def _install(self, first_offset: int, decided: KeyBatch) -> None:
        for offset, record in enumerate(decided.records, start=first_offset):
            self._store.apply(offset, record)
        self._changed()

    def _expire(self, decided: KeyBatch, limit: int) -> None:
        decided.expire(self._store.view.long_expired(self._clock_ms(), limit))
