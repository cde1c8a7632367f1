"""The body of a bulk request, cut into operations: lines of JSON, or maps of msgpack."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgpack

from kissvdb.api.bulk import documents
from kissvdb.api.bulk.operations import (
    Outcome,
    is_event,
    read_events,
    read_line,
    read_lines,
    read_map,
)
from kissvdb.api.frame.context import Context
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX
from kissvdb.api.state import plain_puts
from kissvdb.core.grants import Grants
from kissvdb.core.state.put_many import PutMany
from kissvdb.errors import InvalidArgument, KissError, PayloadTooLarge
from kissvdb.records import EventPublished

OPERATIONS_PER_WRITE_MAX = 1024

ALIKE_MAX = 512
ALIKE_BYTES_MAX = 128 * 1024
"""Events, or puts, that are read and written together, without a thread: in half a millisecond."""

T = TypeVar("T")


class Lines:
    """Cuts newline-delimited JSON into operations. Empty lines are passed over."""

    def __init__(self, context: Context, grants: Grants | None) -> None:
        self.grants = grants
        self._context = context
        self._limits = context.config.limits
        self._waiting: deque[bytes | KissError] = deque()
        self._rest = b""
        self._skipping = False
        self.pending_bytes = 0
        self.put_back: list[Outcome] = []
        """Taken already, and to be done next."""

    def feed(self, data: bytes) -> None:
        """Take bytes, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not self._skipping and max(map(len, lines), default=0) <= self._limits.body_bytes_max:
            sound = [line for line in lines if line and not line.isspace()]
            self._waiting += sound
            self.pending_bytes += sum(map(len, sound))
            lines = []
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._limits.body_bytes_max:
                self._waiting.append(_too_long(self._limits.body_bytes_max))
            elif line and not line.isspace():
                self._waiting.append(line)
                self.pending_bytes += len(line)
        if len(self._rest) > self._limits.body_bytes_max:
            # Not kept, however long it gets; the next line is read again.
            self._rest = b""
            if not self._skipping:
                self._waiting.append(_too_long(self._limits.body_bytes_max))
            self._skipping = True

    def end(self) -> None:
        """The last byte came: what is left is a line, too."""
        self.feed(b"\n")

    def take_events(self) -> list[EventPublished] | None:
        """As `take`, what is to be logged of the next operations, if all are events that nobody
        has to decide: as many as are read while the loop waits. Else None, and they are still to
        be taken."""
        return self._take_alike(is_event, read_events)

    def take_puts(self) -> plain_puts.Columns | None:
        """The same of puts that say nothing but keys and values."""
        return self._take_alike(plain_puts.is_put, _read_puts)

    def _take_alike(
        self,
        is_one: Callable[[object], bool],
        read: Callable[[Context, list[bytes]], T | None],
    ) -> T | None:
        waiting = self._waiting
        if self.grants is not None or not waiting or not is_one(waiting[0]):
            return None
        lines: list[Any] = list(islice(waiting, ALIKE_MAX))
        if set(map(type, lines)) != {bytes}:
            return None
        size = sum(map(len, lines))
        while size > ALIKE_BYTES_MAX and len(lines) > 1:
            lines = lines[: len(lines) // 2]
            size = sum(map(len, lines))
        found = read(self._context, lines) if size <= ALIKE_BYTES_MAX else None
        if found is not None:
            self.pending_bytes -= size
            if len(lines) == len(waiting):
                waiting.clear()
            else:
                for _ in lines:
                    waiting.popleft()
        return found

    @property
    def has_more(self) -> bool:
        """Whether there is something to take, be it the refusal of a line."""
        return bool(self._waiting)

    @property
    def documents_are_next(self) -> bool:
        """Whether `take_documents` may take something."""
        waiting = self._waiting
        return bool(waiting) and documents.is_put(waiting[0])

    def take_documents(self) -> PutMany | None:
        """As `take`, if all are documents that are put into one collection, and nothing else is
        said of them. Else None, and they are still to be taken."""
        waiting = self._waiting
        lines: list[Any] = list(islice(waiting, OPERATIONS_PER_WRITE_MAX))
        found = documents.read(lines, self._limits)
        if found is not None and self.grants is not None:
            # To one that is not granted each line is refused for itself.
            found = found if self.grants.may_key(found.keys[0]) else None
        if found is not None:
            self.pending_bytes -= sum(map(len, lines))
            for _ in lines:
                waiting.popleft()
        return found

    def take(self) -> list[Outcome]:
        """The next operations, at most OPERATIONS_PER_WRITE_MAX."""
        count = min(len(self._waiting), OPERATIONS_PER_WRITE_MAX)
        taken: list[Any] = [self._waiting.popleft() for _ in range(count)]
        places = [n for n, line in enumerate(taken) if not isinstance(line, KissError)]
        lines: list[bytes] = [taken[n] for n in places]
        size = sum(map(len, lines))
        self.pending_bytes -= size
        if size > INLINE_BYTES_MAX:
            # In a thread: numpy comes with it.
            outcomes = read_lines(self._context, lines)
        else:
            outcomes = [read_line(self._context, line) for line in lines]
        for n, outcome in zip(places, outcomes, strict=True):
            taken[n] = outcome
        return taken


class Maps:
    """Cuts a sequence of msgpack maps into operations. Behind bytes that are no msgpack, or a map
    that is too large, the next map cannot be found: that is said once, and the rest is dropped."""

    def __init__(self, context: Context, grants: Grants | None) -> None:
        self.grants = grants
        self._context = context
        self._limits = context.config.limits
        # What waits in its buffer is bounded by ``take``, what one array may ask for by these.
        most = self._limits.body_bytes_max
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=0,
            max_str_len=most,
            max_bin_len=most,
            max_ext_len=most,
            max_array_len=most,
            max_map_len=most,
        )
        self._fed_bytes = 0
        # Where the next map begins. The unpacker's own place moves on within a part of one.
        self._begin = 0
        self._dropping = False
        self.pending_bytes = 0
        self.put_back: list[Outcome] = []
        """As that of Lines."""

    def feed(self, data: bytes) -> None:
        """Take bytes, cut anywhere. What can be taken must be, before there are more."""
        if self._dropping:
            return
        self.pending_bytes += len(data)
        self._fed_bytes += len(data)
        self._unpacker.feed(data)

    def end(self) -> None:
        """The last byte came. A map that is not whole was cut off: it is nothing."""

    def take_events(self) -> None:
        """As that of Lines: these are not told at a glance."""

    def take_puts(self) -> None:
        """As that of Lines, too."""

    has_more = False
    documents_are_next = False
    """As those of Lines: no documents of it are ever begun."""

    def take_documents(self) -> None:
        """As that of Lines, too."""

    def take(self) -> list[Outcome]:
        """The next operations, at most OPERATIONS_PER_WRITE_MAX."""
        self.pending_bytes = 0
        taken: list[Outcome] = []
        unpacker, bytes_max = self._unpacker, self._limits.body_bytes_max
        while not self._dropping and len(taken) < OPERATIONS_PER_WRITE_MAX:
            try:
                operation = unpacker.unpack()
            except msgpack.OutOfData:
                if self._fed_bytes - self._begin <= bytes_max:
                    break
                taken.append(_too_long(bytes_max))
                self._dropping = True
            except (msgpack.UnpackException, ValueError) as problem:
                taken.append(InvalidArgument(f"operation: not msgpack ({problem})"))
                self._dropping = True
            else:
                begin, self._begin = self._begin, unpacker.tell()
                fits = self._begin - begin <= bytes_max
                taken.append(read_map(self._context, operation) if fits else _too_long(bytes_max))
        return taken


def _read_puts(context: Context, lines: Sequence[bytes]) -> plain_puts.Columns | None:
    return plain_puts.read_lines(lines, context.config.limits)


def _too_long(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the operation is over {bytes_max} bytes: split it, or raise limits.body_bytes_max "
        "(MAX_BODY_BYTES)"
    )
