"""Reading the user's SQL database: a bounded pool of connections, each used by one statement.

A statement sees the database at one offset: the transaction that it reads in begins with the offset
in the file's header. It runs in threads, a chunk of rows at a time, and never waits for a writer,
nor a writer for it. What it holds back is the WAL, which cannot begin anew while it looks at an old
state; so it has a deadline, which also ends one whose client does not take the rows.
"""

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import apsw
import trio

from kissvdb.engine.sql.reader_threads import ReaderThread, Turns, turns_count
from kissvdb.engine.sql.reading import OurTables, Reading, Row, SqlQuery
from kissvdb.engine.sql.statements import check_length, translated
from kissvdb.engine.threads import switching
from kissvdb.errors import KissError, Overloaded, Stopping
from kissvdb.telemetry.parts import QUERY, timed_wait

SWITCH_SECONDS: Final = 0.0005
"""While there are statements the event loop gets the interpreter back after this time, not 5 ms: it
may have to wait behind each of them, several times for one request (measured: a fourth)."""
LOOK_SECONDS: Final = 0.05
"""Between two looks at what a statement takes."""
WAITING_FACTOR: Final = 16
"""So many statements may wait for each connection."""

T = TypeVar("T")


class Readers:
    """At most ``connections_max`` statements at once on one file; others wait, and some are turned
    away (Overloaded). ``look_after`` must run beside it."""

    def __init__(
        self,
        path: Path,
        connections_max: int,
        *,
        true_offset: Callable[[], int] = lambda: 0,
        names: Collection[str] = (),
    ) -> None:
        """``true_offset``: up to where a new statement sees everything. ``names``: of the tables
        of ``ours``, which is set before the first statement."""
        self._path = path
        self._names = names
        self.ours: OurTables | None = None
        self.true_offset = true_offset
        self.connections_max = connections_max
        self._room = trio.CapacityLimiter(connections_max)
        self._turns = Turns(turns_count())
        self._idle: list[Reading] = []
        self._open: set[Rows[Any]] = set()
        self._changed = trio.Event()
        self._closed = False
        self._gate = trio.Event()
        self._gate.set()
        self._left = trio.Event()

    def reader(self, query: SqlQuery, shape: Callable[[list[Row]], T] | None = None) -> "Rows[T]":
        """A statement as an async context manager: see `Rows`. ``shape`` is called in the thread
        with each list of rows, and what it makes of it is what is iterated."""
        return Rows(self, query, shape)

    @property
    def busy(self) -> int:
        """Statements that have a connection now."""
        return self._room.borrowed_tokens

    async def look_after(self) -> None:
        """End statements whose time is over, also if nobody takes their rows, until cancelled."""
        while True:
            for rows in list(self._open):
                rows.end_if_over()
            # One that is over and still runs is at its last step, or in a call of a function.
            waits = [rows.seconds_left or LOOK_SECONDS for rows in self._open]
            wait = min(LOOK_SECONDS, *waits) if waits else 3600.0
            with trio.move_on_after(wait + 0.001):
                await self._changed.wait()
            self._changed = trio.Event()

    @asynccontextmanager
    async def kept_out(self) -> AsyncIterator[None]:
        """For as long as the block nothing is read, and none is waited for longer than it may take;
        who comes waits."""
        self._gate = gate = trio.Event()
        try:
            while self.busy:
                self._left = trio.Event()
                await self._left.wait()
            yield
        finally:
            gate.set()

    def close(self) -> None:
        """Close what is idle; what is still read closes when it ends."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    # For Rows

    async def enter(self, rows: "Rows[Any]") -> "Reading":
        """A connection for these rows. Raises Overloaded and Stopping."""
        if self._closed:
            raise Stopping("the server is shutting down: retry")
        waiting_count = self._room.statistics().tasks_waiting
        waiting_count += self._gate.statistics().tasks_waiting
        if waiting_count >= WAITING_FACTOR * self.connections_max:
            raise self._full()
        with trio.move_on_after(rows.query.timeout_ms / 1000) as waiting:
            if not self._gate.is_set():
                await self._gate.wait()
            await self._room.acquire_on_behalf_of(rows)
        if waiting.cancelled_caught:
            raise self._full()
        if self._idle:
            return self._idle.pop()
        thread = ReaderThread(self._turns)
        try:
            with translated():
                made = (thread, self._path, self._names, self.ours)
                return await thread.run(Reading, *made, stop=_nothing)
        except BaseException:
            thread.close()
            self._release(rows)
            raise

    def begun(self, rows: "Rows[Any]") -> None:
        """These rows hold on to a moment from now on."""
        if not self._open:
            switching.ask(SWITCH_SECONDS)
        self._open.add(rows)
        self._changed.set()

    def leave(self, rows: "Rows[Any]", connection: "Reading") -> None:
        """The connection is free again, if it is well."""
        if self._open == {rows}:
            switching.give_back(SWITCH_SECONDS)
        self._open.discard(rows)
        self._release(rows)
        if self._closed or not connection.is_well:
            connection.close()
        else:
            self._idle.append(connection)

    def _release(self, rows: "Rows[Any]") -> None:
        self._room.release_on_behalf_of(rows)
        self._left.set()

    def _full(self) -> Overloaded:
        return Overloaded(
            f"all {self.connections_max} connections for SQL queries are busy: retry, or raise "
            "sql.readers"
        )


def _nothing() -> None:
    """To open a connection takes no time: it is waited for."""


class Rows(Generic[T]):
    """The rows of one statement: ``async with readers.reader(query) as rows``.

    ``columns`` has their names, each once (a second ``id`` is ``id:1``); ``offset`` is the one that
    all of it is true at. Iterating gives chunks; then ``truncated`` says whether there would be
    more rows than the limits allow. Raises SqliteError, InvalidArgument, Forbidden, RequestTimeout,
    Overloaded and Stopping, in the beginning or while it is iterated. Leaving the block, in any
    way, ends the statement.
    """

    def __init__(
        self, readers: Readers, query: SqlQuery, shape: Callable[[list[Row]], T] | None
    ) -> None:
        self.query = query
        self.columns: tuple[str, ...] = ()
        self.offset = 0
        self.truncated = False
        self.count = 0
        """Rows that were read so far."""
        self._readers = readers
        self._shape = shape
        self._reading: Reading | None = None
        self._bytes_left = query.bytes_max
        self._first: list[T] = []
        self._has_more = False
        self._in_thread = False
        self._failure: KissError | None = None

    async def __aenter__(self) -> Self:
        check_length(self.query.sql)
        deadline = time.monotonic() + self.query.timeout_ms / 1000
        reading = self._reading = await self._readers.enter(self)
        try:
            reading.watch.begin(deadline, self.query.timeout_ms)
            self._readers.begun(self)
            await self._take(reading)
            true_offset = self._readers.true_offset()
            self._first.append(await self._run(self._start, true_offset))
        except BaseException:
            self._end()
            raise
        self._end_when_done()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._first:
            return self._first.pop()
        if self._failure is not None:
            raise self._failure
        if not self._has_more:
            raise StopAsyncIteration
        chunk: T = await self._run(self._next)
        self._end_when_done()
        return chunk

    @property
    def seconds_left(self) -> float:
        """Until it is ended."""
        return 0.0 if self._reading is None else self._reading.watch.seconds_left

    def end_if_over(self) -> None:
        """Let go of the moment it reads when its time is over; whoever iterates is told."""
        if self._reading is None:
            return
        if self._in_thread:
            self._reading.watch.look()
        elif self._reading.watch.is_over:
            self._failure = self._reading.watch.timeout()
            self._end()

    async def _take(self, reading: Reading) -> None:
        ours = self._readers.ours
        if ours is None:
            return
        # No thread has it, and yet it is not idle: it is about to begin.
        self._in_thread = True
        try:
            with translated():
                reading.show(await ours.take(self.query, reading.watch, reading.begin))
        except apsw.InterruptError:
            raise reading.watch.refusal() from None
        finally:
            self._in_thread = False

    async def _run(self, fn: Callable[..., T], *args: Any) -> T:
        reading = self._reading
        assert reading is not None
        self._in_thread = True
        try:
            work = reading.thread.run(fn, reading, *args, stop=reading.watch.stop)
            return await timed_wait(QUERY, work)
        except apsw.InterruptError:
            raise reading.watch.refusal() from None
        finally:
            self._in_thread = False

    def _end_when_done(self) -> None:
        if not self._has_more:
            self._end()

    def _end(self) -> None:
        """A few microseconds: a transaction that reads has nothing to undo."""
        reading, self._reading = self._reading, None
        self._has_more = False
        if reading is not None:
            reading.end()
            self._readers.leave(self, reading)

    # In a thread

    def _start(self, reading: Reading, true_offset: int) -> T:
        with translated():
            self.columns = reading.start(self.query, true_offset)
            self.offset = reading.offset
            return self._fetch(reading)

    def _next(self, reading: Reading) -> T:
        with translated():
            return self._fetch(reading)

    def _fetch(self, reading: Reading) -> T:
        rows, size, self._has_more = reading.fetch(self.query.rows_max - self.count)
        self.count += len(rows)
        self._bytes_left -= size
        if self._has_more and (self.count >= self.query.rows_max or self._bytes_left <= 0):
            self.truncated, self._has_more = reading.has_another(), False
        if not self._has_more:
            reading.end()
        return rows if self._shape is None else self._shape(rows)  # type: ignore[return-value]
