"""What the engine asks of an event log, whatever keeps it.

An append is begun and then awaited, so that the next one can be under way while those who wait for
this one hear of it. A test suite holds every kind to this (tests/engine/test_event_log.py).
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import attrs

from kissvdb.epochs import Boundary
from kissvdb.records import LogRecord
from kissvdb.storage.backup import Entry


@attrs.frozen
class LogInfo:
    """A log at one moment."""

    first_offset: int
    """Reads may start here; one more than `last_offset` when the log holds no record."""
    last_offset: int
    """The newest durable record's; with no record, the one before them all."""
    bytes_kept: int
    """What the log takes on disk. 0 in memory."""


class Appending(Protocol):
    """An append under way."""

    async def offset(self) -> int:
        """Return the first record's offset, once all are durable; the others' follow it.

        Awaited once, by whoever began it. Cancelling it leaves open whether it happens. Raises

        - Unavailable: nothing was appended, and the log goes on
        - PayloadTooLarge: more than one append may hold; nothing was appended
        - OutcomeUnknown: it may or may not have happened, and no append will follow
        """
        ...


class EventLog(Protocol):
    """One sequence of records that only ever grows at its end. Every offset is given once.

    ``async with log:`` one task at a time appends; any task or thread reads.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def close(self) -> None:
        """Give back what opening took, after the ``async with`` block; also without one."""
        ...

    @property
    def first_offset(self) -> int:
        """As in `LogInfo`."""
        ...

    @property
    def last_offset(self) -> int:
        """As in `LogInfo`."""
        ...

    @property
    def boundaries(self) -> Sequence[Boundary]:
        """Where epochs ended, as far as the log still knows, oldest first."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether it pays to begin the next append before anybody hears of this one."""
        ...

    def append(self, ts_ms: int, payloads: Sequence[bytes], *, after: int) -> Appending:
        """Begin to append the records, all or none, as what follows offset ``after``.

        Not before the one begun last has an outcome. Raises Conflict when the log does not end at
        ``after``: somebody else appends, too. Raises OutcomeUnknown after an append that ended so
        or after `close`, and ValueError without a record.
        """
        ...

    def read(self, after: int, *, bytes_max: int, until: int | None = None) -> list[LogRecord]:
        """Records with ``after`` < offset <= ``until``, in order. Sync: for a worker thread.

        At most ``bytes_max`` bytes of payload, but at least one record if there is one. Where
        offsets were skipped the next record follows. Only what is durable is ever read.

        Raises OffsetTruncated when the log no longer holds what follows ``after``, Unavailable
        when it cannot be read now, Damaged when what was durable is not readable any more.
        """
        ...

    async def barrier(self) -> int:
        """Wait until every append begun so far has an outcome; answers the last offset then."""
        ...

    async def truncate(self, through: int) -> None:
        """Let the log forget records up to and with this offset: no view needs them any more.

        How many it keeps all the same is its own affair. Raises OSError; it may be asked again.
        """
        ...

    def info(self) -> LogInfo:
        """Where it begins and ends, and what it takes."""
        ...

    async def note_files(self, entries: list[Entry]) -> int:
        """Open what a backup carries of the log, and note each file when it is open: whoever asks
        closes them, whatever comes. Answers the last offset in them.

        Raises NotSupported where nothing is kept, and OSError.
        """
        ...
