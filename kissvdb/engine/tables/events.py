"""The table ``events``: what the log still holds, as the stream shows it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from kissvdb import records
from kissvdb.core.events.stream import Event, event_of
from kissvdb.core.grants import is_private
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.tables.module import Column, Given, Order, Plan, VirtualTable
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.errors import Damaged, OffsetTruncated
from kissvdb.records import KeyWritten, LogRecord

CHUNK_BYTES = 256 * 1024
WINDOW_FIRST = 64
WINDOW_MAX = 4096
"""Backwards the log is read in windows of so many offsets: the first are small, for who wants only
the newest few."""
WINDOW_BYTES_MAX = 4 * 1024 * 1024
"""What a window may hold; one record may be larger."""
_INTEGER_MAX = 2**63 - 1


class EventsTable(VirtualTable):
    """``events(offset, ts_ms, type, key, collection, data)``: ``data`` is JSON text, without the
    numbers of vectors. ``ts_ms`` is Unix time in milliseconds."""

    name = "events"
    columns = (
        Column("offset", "INTEGER", ("=", ">", ">=", "<", "<=")),
        Column("ts_ms", "INTEGER"),
        Column("type", "TEXT", ("=",)),
        Column("key", "TEXT", ("=",)),
        Column("collection", "TEXT", ("=",)),
        Column("data", "TEXT"),
    )
    key = "offset"
    usage = "FROM events"

    def plan(self, plan: Plan) -> None:
        names = set(plan.names)
        if "offset=" in names:
            plan.cost, plan.rows = 20.0, 1
        elif names & {"offset>", "offset>="}:
            plan.cost, plan.rows = 50_000.0, 10_000
        if names & {"type=", "key=", "collection="}:
            plan.rows = max(1, plan.rows // 10)
        plan.ordered = plan.order is not None and plan.order.column == "offset"

    def rows(
        self, snapshot: Snapshot, given: Given, used: frozenset[str], order: Order | None
    ) -> Iterator[tuple[Any, ...]]:
        if any(value is None for value in given.values()):
            return
        after, until = _bounds(given, snapshot.offset)
        tests = _tests(given)
        bounds = snapshot.bounds
        if bounds.sight is not None:
            tests.append(bounds.sight.may_see)
        elif not bounds.private:
            tests.append(lambda event: not is_private(event.type))
        with_data = "data" in used
        descending = order is not None and order.descending
        chunks = _backwards if descending else _forwards
        for chunk in chunks(snapshot.log, after, until):
            # What passes nothing costs time, too.
            snapshot.check()
            for found in chunk:
                event = _event(found, with_data=with_data)
                if all(test(event) for test in tests):
                    data = event.data.decode() if with_data else None
                    yield found.offset, found.ts_ms, event.type, event.key, event.collection, data


def _event(found: LogRecord, *, with_data: bool) -> Event:
    try:
        record = records.decode(found.payload)
    except msgspec.MsgspecError as error:
        raise Damaged(
            f"the record with offset {found.offset} is none this version knows: {error}"
        ) from None
    if not with_data and isinstance(record, KeyWritten):
        # A value may be long, and would be copied.
        record = msgspec.structs.replace(record, value=b"")
    return event_of(found.offset, found.ts_ms, record)


def _bounds(given: Given, last: int) -> tuple[int, int]:
    """Offsets after the one and up to the other may pass; what is no integer is left to SQLite."""
    after, until = 0, last
    for name, value in given.items():
        if not isinstance(value, int):
            continue
        if name == "offset=":
            after, until = max(after, value - 1), min(until, value)
        elif name == "offset>":
            after = max(after, value)
        elif name == "offset>=":
            after = max(after, value - 1)
        elif name == "offset<":
            until = min(until, value - 1)
        elif name == "offset<=":
            until = min(until, value)
    return min(after, _INTEGER_MAX), until


def _tests(given: Given) -> list[Callable[[Event], bool]]:
    tests: list[Callable[[Event], bool]] = []
    for column in ("type", "key", "collection"):
        value = given.get(f"{column}=")
        if isinstance(value, str):
            tests.append(_equal(column, value))
    return tests


def _equal(column: str, value: str) -> Callable[[Event], bool]:
    return lambda event: getattr(event, column) == value


def _forwards(log: EventLog, after: int, until: int) -> Iterator[list[LogRecord]]:
    """Raises OffsetTruncated where the log forgets what was still to be read."""
    chunk: list[LogRecord] = []
    while after < until:
        try:
            chunk = log.read(after, bytes_max=CHUNK_BYTES, until=until)
        except OffsetTruncated as error:
            if chunk:
                raise
            # It may just have forgotten more.
            after = error.first_offset - 1
            continue
        if not chunk:
            return
        yield chunk
        after = chunk[-1].offset


def _backwards(log: EventLog, after: int, until: int) -> Iterator[list[LogRecord]]:
    window = WINDOW_FIRST
    after = max(after, log.first_offset - 1)
    while after < until:
        start = max(after, until - window)
        found = _window(log, start, until) if window > 1 else next(_forwards(log, start, until), [])
        if found is None:
            window = max(1, window // 8)
            yield []
            continue
        yield found[::-1]
        # Offsets that were skipped are passed fast.
        window = min(window * 2, WINDOW_MAX) if found else window * 8
        until = start


def _window(log: EventLog, after: int, until: int) -> list[LogRecord] | None:
    """The records of a window; None if they are too large to be kept together."""
    found: list[LogRecord] = []
    room = WINDOW_BYTES_MAX
    for chunk in _forwards(log, after, until):
        found += chunk
        room -= sum(len(each.payload) for each in chunk)
        if room < 0:
            return None
    return found
