"""A batch of commands decided in order, and the rules of ``op_id``: done once, answered again.

An ``op_id`` is the client's name for one operation. A repeat of that operation is answered as it
was the first time, and says so; another operation under the name of a former one is refused, for
an answer would be read as "done".
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from kissvdb.core.atomic import Atomic, AtomicDecision, mark_of
from kissvdb.core.op_ids import shown
from kissvdb.core.quotas import Growth
from kissvdb.errors import Damaged, OpIdReused, Refused
from kissvdb.records import Operation

FINGERPRINT_BYTES = 8

# What a client may change from one try to the next, and no part of what it asks for.
_NOT_PART = frozenset({"op_id", "precondition", "model", "grants"})
_MADE_HERE = frozenset({"vector", "embedded"})

_encode = msgspec.msgpack.Encoder().encode


class Repeatable(Protocol):
    """A decision that a repeat in the same batch may share."""

    def again(self) -> Any:
        """The same decision, whose answer says that it is repeated."""


D = TypeVar("D", bound=Repeatable)


def fingerprint(command: msgspec.Struct) -> bytes:
    """What tells an operation from another: its kind, what it is about and what it says.

    Fields that say nothing are left out, so that a command may get new ones. So is a vector that
    is made of the text here: no model need answer the same numbers twice.
    """
    return blake2b(_encode(_said(command)), digest_size=FINGERPRINT_BYTES).digest()


def _said(command: msgspec.Struct) -> tuple[str, list[tuple[str, Any]]]:
    left_out = _NOT_PART
    if getattr(command, "embedded", False) or not getattr(command, "vector", None):
        left_out = _NOT_PART | _MADE_HERE
    said = []
    for name in command.__struct_fields__:
        value = getattr(command, name)
        if name not in left_out and value not in (None, False, ()):
            said.append((name, _said(value) if isinstance(value, msgspec.Struct) else value))
    return type(command).__name__, said


class Batch(ABC, Generic[D]):
    """Decides commands against what is stored and the batch so far; subclasses have the rules."""

    records: list[Any]
    """What is to be logged."""
    _pending: dict[str, Any]
    """What the batch has made of things so far, by name; None: gone."""

    def __init__(self, operation: Callable[[str], Operation | None]) -> None:
        self._pending = {}
        self._operation = operation
        self._pending_operations: dict[str, tuple[bytes, Any]] = {}
        self.growth: Growth | None = None
        """What quotas it counts under, if there are any; set by who makes the batch."""
        self._fingerprint: bytes | None = None
        """Of the command that is being decided, for its record."""

    def decide(self, command: Any) -> D:
        """Accept the command, or raise Refused and leave the batch as it was."""
        op_id: str | None = command.op_id
        if op_id is None:
            return self._decide(command)
        found = fingerprint(command)
        pending = self._pending_operations.get(op_id)
        if pending is not None:
            check_same(op_id, pending[0], found)
            repeated: D = pending[1].again()
            return repeated
        operation = self._operation(op_id)
        if operation is not None:
            check_same(op_id, operation.fingerprint, found)
            return self._decide_again(operation)
        count = len(self.records)
        self._fingerprint = found
        try:
            decision = self._decide(command)
        finally:
            self._fingerprint = None
        if len(self.records) > count:
            self._pending_operations[op_id] = (found, decision)
        return decision

    def decide_each(self, commands: Sequence[Any]) -> list[D | Refused | Damaged]:
        """Decide several, each for itself. Of what is damaged on disk nothing can be decided; of
        the rest it can."""
        outcomes: list[D | Refused | Damaged] = []
        for command in commands:
            try:
                outcomes.append(self.decide(command))
            except (Refused, Damaged) as refusal:
                outcomes.append(refusal)
        return outcomes

    def decide_all(self, commands: Sequence[Any]) -> list[D]:
        """Decide several, all or none: one that is refused leaves the batch as it was, and its
        ``place`` among the commands is in the refusal."""
        decisions: list[D] = []
        with self._undone_if_refused():
            for command in commands:
                try:
                    decisions.append(self.decide(command))
                except (Refused, Damaged) as refusal:
                    refusal.place = len(decisions)
                    raise
        return decisions

    def decide_atomic(self, atomic: Atomic) -> AtomicDecision:
        """Decide a whole batch of a client's, all or none, or find how it was answered before.

        Raises what a command of it is refused with, OpIdReused and PayloadTooLarge.
        """
        op_id, found = atomic.op_id, atomic.fingerprint
        if op_id is not None:
            pending = self._pending_operations.get(op_id)
            if pending is not None:
                check_same(op_id, pending[0], found)
                repeated: AtomicDecision = pending[1].again()
                return repeated
            operation = self._operation(op_id)
            if operation is not None:
                check_same_batch(op_id, operation, found)
                return AtomicDecision.of_operation(operation)
        start = len(self.records)
        with self._undone_if_refused():
            # Its place is taken now, and what it says is known behind the last command.
            self.records.append(None)
            decisions = self.decide_all((*atomic.conditions, *atomic.commands))
            records = self.records[start + 1 :]
            atomic.check_size(records)
        decision = AtomicDecision.of(atomic, decisions, records, start)
        self.records[start : start + 1] = [] if decision.mark is None else [decision.mark]
        if op_id is not None:
            assert found is not None
            self._pending_operations[op_id] = (found, decision)
        return decision

    def settle(self) -> None:
        """It is installed, or never will be."""
        if self.growth is not None:
            self.growth.settle()

    def mark_together(self) -> None:
        """Tell readers of the stream that all records there are belong together."""
        mark = mark_of((), len(self.records), None, None)
        if mark is not None:
            self.records.insert(0, mark)

    @contextmanager
    def _undone_if_refused(self) -> Iterator[None]:
        count = len(self.records)
        pending, operations = self._pending.copy(), self._pending_operations.copy()
        growth = None if self.growth is None else self.growth.mark()
        try:
            yield
        except (Refused, Damaged):
            del self.records[count:]
            self._pending, self._pending_operations = pending, operations
            if growth is not None:
                assert self.growth is not None
                self.growth.back(growth)
            raise

    @abstractmethod
    def _decide(self, command: Any) -> D:
        """Accept a command that is no repeat; its record carries ``_fingerprint``."""

    @abstractmethod
    def _decide_again(self, operation: Operation) -> D:
        """The decision to answer a former operation again."""


def check_same(op_id: str, known: bytes | None, found: bytes | None) -> None:
    """Raises OpIdReused. An older kissvdb noted no fingerprint: then it is taken for a repeat."""
    if known is not None and known != found:
        raise OpIdReused(
            f"op_id {shown(op_id)!r} belongs to another operation, which is done: nothing was "
            "written. Give every operation an op_id of its own"
        )


def check_same_batch(op_id: str, operation: Operation, found: bytes | None) -> None:
    """Raises OpIdReused unless the operation is the batch with this fingerprint."""
    check_same(op_id, operation.fingerprint if operation.kind == "batch" else b"", found)
