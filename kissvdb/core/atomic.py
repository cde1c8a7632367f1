"""A client's batch: operations that happen together, all or none, and its answer.

A batch of two records or more, or with an ``op_id``, begins in the log with a `BatchCommitted`: it
tells readers of the stream how many records belong together, and remembers the answer for a
repeat, for as long as any ``op_id`` is remembered.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from kissvdb.errors import PayloadTooLarge
from kissvdb.records import BatchCommitted, Operation, encode_all


class Result(msgspec.Struct, frozen=True):
    """What one operation did. ``offset`` None: it changed nothing, as the deletion of a key that
    was not there."""

    offset: int | None
    revision: int | None = None
    expires_at_ms: int | None = None
    rows_affected: int | None = None
    """Of SQL."""


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answer to a batch: a result for each operation, in order.

    Its records have the offsets ``first_offset`` to ``last_offset``; both are None when there was
    nothing to log.
    """

    results: Sequence[Result]
    first_offset: int | None
    last_offset: int | None
    repeated: bool = False
    """It was done before, under the same op_id."""


class Atomic(msgspec.Struct, frozen=True):
    """A batch of one owner: ``commands`` if all ``conditions``, decided before them, hold.

    ``fingerprint`` tells it from another batch; it is there where an ``op_id`` is. Records of over
    ``bytes_max`` bytes in all are refused.
    """

    conditions: tuple[Any, ...]
    commands: tuple[Any, ...]
    bytes_max: int
    op_id: str | None = None
    fingerprint: bytes | None = None

    def check_size(self, records: Sequence[Any]) -> None:
        """Raises PayloadTooLarge."""
        check_size(records, self.bytes_max)


class AtomicDecision(msgspec.Struct, frozen=True):
    """A batch that was accepted. Its results are relative: 0 is the offset of its mark."""

    results: Sequence[Result]
    mark: BatchCommitted | None
    records: int
    """How many are logged behind the mark."""
    position: int
    """Where the mark stands among the records of the owner's batch."""
    former: int | None = None
    """Of a repeat: the offset of its mark."""
    repeated: bool = False

    @classmethod
    def of(
        cls, atomic: Atomic, decisions: Sequence[Any], records: Sequence[Any], position: int
    ) -> "AtomicDecision":
        """The decision to log ``records`` behind a mark at ``position``."""
        wanted = decisions[len(atomic.conditions) :]
        results = [result_of(each.at(-position)) for each in wanted]
        mark = mark_of(results, len(records), atomic.op_id, atomic.fingerprint)
        return cls(results, mark, len(records), position)

    @classmethod
    def of_operation(cls, operation: Operation) -> "AtomicDecision":
        """The decision to answer a former batch again."""
        results = decode_results(operation.key)
        return cls(results, None, operation.revision, 0, operation.offset, True)

    def again(self) -> "AtomicDecision":
        """See `batch.Repeatable`."""
        return msgspec.structs.replace(self, repeated=True)

    def at(self, first_offset: int) -> BatchAnswer:
        """The answer, once the owner's first record has got ``first_offset``."""
        marked = self.mark is not None
        if self.former is not None:
            start, marked = self.former, True
        else:
            start = first_offset + self.position - (not marked)
        return answer(self.results, start, self.records, marked=marked, repeated=self.repeated)


def answer(
    results: Sequence[Result], start: int, records: int, *, marked: bool, repeated: bool = False
) -> BatchAnswer:
    """The answer with relative ``results``, whose mark has, or would have, the offset ``start``."""
    found = [
        Result(
            None if each.offset is None else start + each.offset,
            each.revision,
            each.expires_at_ms,
            each.rows_affected,
        )
        for each in results
    ]
    if not (marked or records):
        return BatchAnswer(found, None, None, repeated)
    return BatchAnswer(found, start + (not marked), start + records, repeated)


def mark_of(
    results: Sequence[Result], records: int, op_id: str | None, fingerprint: bytes | None
) -> BatchCommitted | None:
    """What stands in the log before a batch; None where nothing needs to."""
    if op_id is not None:
        return BatchCommitted(records, op_id, fingerprint, encode_results(results))
    return BatchCommitted(records) if records > 1 else None


def result_of(answered: Any) -> Result:
    """What an owner answered, as a result."""
    return Result(
        answered.offset,
        getattr(answered, "revision", None),
        getattr(answered, "expires_at_ms", None),
        sum(answered.rows_affected) if hasattr(answered, "rows_affected") else None,
    )


def encode_results(results: Sequence[Result]) -> str:
    """Results as text, for the log."""
    rows = []
    for each in results:
        row = msgspec.structs.astuple(each)
        rows.append(row[:-1] if each.rows_affected is None else row)
    return msgspec.json.encode(rows).decode()


def decode_results(text: str) -> list[Result]:
    """What `encode_results` wrote."""
    rows: list[list[int | None]] = msgspec.json.decode(text)
    return [Result(*row) for row in rows]


def check_size(records: Sequence[Any], bytes_max: int) -> None:
    """Raises PayloadTooLarge when the records are over ``bytes_max`` bytes in all."""
    size = sum(map(len, encode_all(records)))
    if size > bytes_max:
        raise PayloadTooLarge(
            f"the batch would log {size} bytes, and a batch may log {bytes_max}: split it, or "
            "raise limits.batch_bytes_max (KISSVDB_LIMITS_BATCH_BYTES_MAX)"
        )
