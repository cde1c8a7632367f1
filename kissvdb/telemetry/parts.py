"""The parts of a request: from when to when it was decided, appended, made durable, applied.

A request has `Parts` only while somebody wants them (``server.slow_request_ms``, ``[telemetry]``);
whoever does a part of its work asks for `current`, and finds None otherwise. An owner decides
the commands of several requests at once and logs them in one append: a `Group` tells all of them.
All of it belongs to the event loop. Times are of `time.perf_counter`, in seconds.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from time import perf_counter
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

MARKS_MAX = 64
"""Of one request. What comes later is not noted: one that asks owners a thousand times."""

QUEUE = "queue"
"""In the owner's mailbox, until it decides."""
DECIDE = "decide"
APPEND = "append"
"""From decided until the log begins to write it: others are being written."""
FSYNC = "fsync"
"""Until it is durable."""
APPLY = "apply"
SEARCH = "search"
"""Looking among rows, with the wait for a thread."""
EMBED = "embed"
"""Texts become vectors, with the wait for the model."""
QUERY = "query"
"""SQL that reads: each time that its thread is asked for rows."""

Mark = tuple[str, float, float]
"""A part: its name, when it began and when it ended."""


@attrs.frozen
class Place:
    """Where a request stands in a trace. ``parent_id`` 0: it begins one."""

    trace_id: int
    span_id: int
    parent_id: int
    sampled: bool
    is_remote: bool
    """Its parent is in another program."""


class Parts:
    """What became of the time of one request. ``outer``: of the request that asks this one."""

    __slots__ = ("marks", "outer", "place", "started")

    def __init__(self, outer: "Parts | None" = None) -> None:
        self.started = perf_counter()
        self.marks: list[Mark] = []
        self.outer = outer
        self.place: Place | None = None
        """None: nobody wants traces."""

    def add(self, name: str, began: float, ended: float) -> None:
        """Note a part."""
        if len(self.marks) < MARKS_MAX:
            self.marks.append((name, began, ended))

    def milliseconds(self) -> dict[str, float]:
        """How long each part took, in the order in which they began; those of one name together."""
        taken: dict[str, float] = {}
        for name, began, ended in sorted(self.marks, key=_began):
            taken[name] = taken.get(name, 0.0) + (ended - began) * 1e3
        return {name: round(ms, 2) for name, ms in taken.items()}

    def during(self, work: Callable[..., T], *args: Any) -> T:
        """``work(*args)``, of which these are the parts."""
        token = _CURRENT.set(self)
        try:
            return work(*args)
        finally:
            _CURRENT.reset(token)

    async def while_waiting(self, work: Awaitable[T]) -> T:
        """What is awaited, of which these are the parts."""
        token = _CURRENT.set(self)
        try:
            return await work
        finally:
            _CURRENT.reset(token)


_CURRENT: ContextVar[Parts | None] = ContextVar("parts", default=None)

current: Callable[[], Parts | None] = _CURRENT.get
"""The parts of the request that is being answered, if anybody wants to know them."""


Note = tuple[Parts, float]
"""Whose command it is, and when it was sent to its owner."""


class Group:
    """The requests whose commands are decided, logged and applied together."""

    __slots__ = ("_at", "_members")

    def __init__(self, notes: Sequence[Note]) -> None:
        self._members = [parts for parts, _ in notes]
        self._at = perf_counter()

    @classmethod
    def taken(cls, notes: Sequence[Note]) -> "Group":
        """Out of a mailbox, now."""
        group = cls(notes)
        for parts, sent in notes:
            parts.add(QUEUE, sent, group._at)
        return group

    def mark(self, name: str) -> None:
        """A part ends now; it began where the one before ended."""
        now = perf_counter()
        self._add(name, now)

    def resume(self) -> None:
        """What comes now is the next part: what was since the last is none of them."""
        self._at = perf_counter()

    def logged(self, began: float, durable: float) -> None:
        """They were in one append: the log began to write it, and it was durable."""
        self._add(APPEND, max(began, self._at))
        self._add(FSYNC, durable)

    def _add(self, name: str, ended: float) -> None:
        for parts in self._members:
            parts.add(name, self._at, ended)
        self._at = ended


def timed(name: str, work: Callable[..., T], *args: Any) -> T:
    """``work(*args)``, as a part of the current request."""
    parts = current()
    if parts is None:
        return work(*args)
    began = perf_counter()
    try:
        return work(*args)
    finally:
        parts.add(name, began, perf_counter())


async def timed_wait(name: str, work: Awaitable[T]) -> T:
    """What is awaited, as a part of the current request."""
    parts = current()
    if parts is None:
        return await work
    began = perf_counter()
    try:
        return await work
    finally:
        parts.add(name, began, perf_counter())


def _began(mark: Mark) -> float:
    return mark[1]
