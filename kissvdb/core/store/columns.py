"""Many vectors written at once, each for itself, with nothing but ids, numbers and metadata.

Whoever loads vectors does only this. One by one they cost a command, a decision, a row and an
answer each; as columns a record each is what is left.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import msgspec

from kissvdb.core.state.rules import EXPIRES_AT_MS_MAX
from kissvdb.errors import Damaged, Refused
from kissvdb.records import VectorWritten

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and every owner knows this message.
    from kissvdb.core.quotas import Growth
    from kissvdb.core.store.id_map import Hashed, IdMap
    from kissvdb.core.store.memory import Room
    from kissvdb.core.store.space import RowData
    from kissvdb.core.store.spec import CollectionSpec

Array = Any


class UpsertMany(msgspec.Struct, frozen=True):
    """Write vectors under ``ids``, in order, whole; with ``absent`` only where there is none.

    ``vectors``: float32 [n, dim], C-contiguous, finite and within NUMBER_MAX. ``metas``: compact
    JSON of each, None for none; ``documents``: the same, decoded, never to be changed.
    """

    ids: Sequence[str]
    vectors: Array
    metas: Sequence[bytes | None]
    documents: Sequence[Any]
    absent: bool = False
    op_id: None = None

    @property
    def commands(self) -> Sequence[str]:
        """One for each id."""
        return self.ids


class WrittenMany(msgspec.Struct, frozen=True):
    """The answer: the offset of each."""

    offsets: range


class ManyDecision(msgspec.Struct, frozen=True):
    """What was decided: the places of the records in the batch."""

    positions: range

    def again(self) -> "ManyDecision":
        """See `batch.Repeatable`. It has no op_id, so nobody repeats it."""
        return self

    def at(self, first_offset: int) -> WrittenMany:
        """The answer once the batch's first record has got ``first_offset``."""
        places = self.positions
        return WrittenMany(range(first_offset + places.start, first_offset + places.stop))


@attrs.frozen(eq=False)
class Found:
    """Ids on their way to new rows. ``rows``: those they have now, -1 for none."""

    hashed: "Hashed"
    rows: Sequence[int]

    @classmethod
    def among(
        cls, ids: Sequence[str], known: "IdMap", data: "RowData", now_ms: int
    ) -> "Found | None":
        """Where ids are; None where one of them is past its time, or cannot be known."""
        hashed = known.hashed(ids)
        rows = known.rows_of(hashed)
        there = [row for row in rows if row >= 0]
        if there:
            ends = data.expires_at_ms[there]
            try:
                data.check(there)
            except Damaged:
                return None
            if ((ends > 0) & (ends <= now_ms)).any():
                return None
        return cls(hashed, rows)


@attrs.define(eq=False)
class Columns:
    """Rows that are decided, and not yet in their arrays."""

    many: UpsertMany
    found: Found
    expires_at_ms: int | None
    prepared: Array = None
    """float32 [n, dim padded], as they are going to be stored."""
    differing: Array = None
    """bool [n]: which of them are not as they were sent; None: that is not kept."""

    def __len__(self) -> int:
        return len(self.many.ids)

    @property
    def blob_bytes(self) -> int:
        """How many bytes the ids and metadata have."""
        metas = sum([len(meta) for meta in self.many.metas if meta is not None])
        return sum(map(len, self.found.hashed.keys)) + metas

    def records(self, collection: str) -> list[VectorWritten]:
        """What is to be logged."""
        many, expires_at_ms = self.many, self.expires_at_ms
        kind = "added" if many.absent else "upserted"
        numbers, size = many.vectors.tobytes(), many.vectors.shape[1] * many.vectors.itemsize
        starts = range(0, len(numbers), size)
        return [
            VectorWritten(kind, collection, id_, numbers[start : start + size], meta, expires_at_ms)
            for id_, start, meta in zip(many.ids, starts, many.metas, strict=True)
        ]


class Rows(Protocol):
    """What is asked of the rows there are."""

    def find_many(self, ids: Sequence[str], now_ms: int) -> Found | None:
        """Where ids are; None where one of them is past its time, or cannot be known."""


def plainly(
    many: UpsertMany,
    spec: "CollectionSpec",
    rows: Rows,
    now_ms: int,
    growth: "Growth | None",
    room: "Room | None",
    records: int,
) -> Columns | None:
    """What is decided where nothing is to be said of any of them but that it is written; None where
    each has to be looked at for itself. ``records``: how many are logged before them."""
    ids, count = many.ids, len(many.ids)
    if many.vectors.shape[1] != spec.dim:
        return None
    found = rows.find_many(ids, now_ms)
    if found is None:
        return None
    new = found.rows.count(-1)
    if (many.absent or growth is not None) and len(set(ids)) < count:
        return None
    expires_at_ms = None if spec.ttl_ms is None else now_ms + spec.ttl_ms
    if (many.absent and new < count) or (expires_at_ms or 0) > EXPIRES_AT_MS_MAX:
        return None
    try:
        if room is not None:
            room.admit(records + count)
        if growth is not None:
            size = many.vectors.nbytes + sum(len(meta or b"") for meta in many.metas)
            growth.of_vector(spec.name, new, size)
    except Refused:
        # Some of them may be let in.
        return None
    return Columns(many, found, expires_at_ms)
