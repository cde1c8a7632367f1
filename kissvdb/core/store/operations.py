"""Operations that were answered: what a repeat under the same ``op_id`` is answered with."""

from collections.abc import Mapping

from kissvdb.records import Operation, VectorDeleted, VectorWritten

OPERATIONS_KEPT = 200_000
"""Answered operations are remembered for this many of them."""


class Operations:
    """The newest operations by ``op_id``, in the order of their offsets."""

    def __init__(self, known: Mapping[str, Operation] | None = None) -> None:
        self._known = dict(known or {})

    def get(self, op_id: str) -> Operation | None:
        """What a former write with this ``op_id`` did."""
        return self._known.get(op_id)

    def items(self) -> list[tuple[str, Operation]]:
        """All of them, oldest first: a copy."""
        return list(self._known.items())

    def adopt(self, former: "Operations") -> None:
        """Remember, as older ones, the operations of what is replaced."""
        both = {**former._known, **self._known}
        self._known = dict(list(both.items())[-OPERATIONS_KEPT:])

    def remember(self, op_id: str, offset: int, record: VectorWritten | VectorDeleted) -> None:
        """Note what the record at ``offset`` did."""
        if isinstance(record, VectorWritten):
            operation = Operation(
                record.kind, record.id, offset, 0, record.expires_at_ms, record.fingerprint
            )
        else:
            operation = Operation("deleted", record.id, offset, fingerprint=record.fingerprint)
        self._known[op_id] = operation
        if len(self._known) > OPERATIONS_KEPT:
            # They were noted in the order of offsets, so the oldest is the first.
            del self._known[next(iter(self._known))]
