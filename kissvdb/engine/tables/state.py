"""The table ``state``: the keys of the database and their values."""

from collections.abc import Iterator, Sequence
from typing import Any

from kissvdb.engine.tables.keys import KeyRange, Keys
from kissvdb.engine.tables.module import (
    ROWS_BETWEEN_CHECKS,
    Column,
    Given,
    Order,
    Plan,
    VirtualTable,
)
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.storage.state.table import after_prefix
from kissvdb.storage.state.table_reader import Row

LIKE_CHARS_MAX = 100
"""Of a pattern that is handed on; SQLite itself looks at longer ones, or refuses them."""
_WILD = "*?["


class StateKeysTable(VirtualTable):
    """``state(key, value, revision, offset, expires_at_ms)``: ``value`` is JSON text."""

    name = "state"
    columns = (
        Column("key", "TEXT", ("=", ">", ">=", "<", "<=", " GLOB ", " LIKE ")),
        Column("value", "TEXT"),
        Column("revision", "INTEGER"),
        Column("offset", "INTEGER"),
        Column("expires_at_ms", "INTEGER"),
    )
    key = "key"
    usage = "FROM state"

    def plan(self, plan: Plan) -> None:
        names = set(plan.names)
        if "key=" in names:
            plan.cost, plan.rows = 5.0, 1
        elif names & {"key>", "key>="} and names & {"key<", "key<="}:
            plan.cost, plan.rows = 10_000.0, 5_000
        elif names & {"key>", "key>=", "key<", "key<=", "key GLOB "}:
            plan.cost, plan.rows = 100_000.0, 50_000
        order = plan.order
        plan.ordered = order is not None and order.column == "key" and not order.descending

    def rows(
        self, snapshot: Snapshot, given: Given, used: frozenset[str], order: Order | None
    ) -> Iterator[tuple[Any, ...]]:
        keys = snapshot.keys
        assert keys is not None, "the statement names the table"
        if any(value is None for value in given.values()):
            # Nothing is equal to NULL, or less.
            return iter(())
        if "key=" in given and (key := _text(given["key="])) is not None:
            return self._one(snapshot, keys, key)
        wanted = range_of(given)
        sight = snapshot.bounds.sight
        values, ordered = "value" in used, order is not None
        if sight is None or sight.beginnings is None:
            return keys.rows(wanted, values=values, ordered=ordered)
        ranges = within(wanted, sight.beginnings)
        return self._seen(snapshot, keys, ranges, values=values, ordered=ordered)

    def _one(self, snapshot: Snapshot, keys: Keys, key: str) -> Iterator[Row]:
        sight = snapshot.bounds.sight
        row = keys.get(key) if sight is None or sight.may_key(key) else None
        return iter(() if row is None else (row,))

    def _seen(
        self,
        snapshot: Snapshot,
        keys: Keys,
        ranges: Sequence[KeyRange],
        *,
        values: bool,
        ordered: bool,
    ) -> Iterator[Row]:
        """The keys in these ranges that may be seen."""
        sight = snapshot.bounds.sight
        assert sight is not None
        may_key, passed = sight.may_key, 0
        for wanted in ranges:
            for row in keys.rows(wanted, values=values, ordered=ordered):
                if may_key(row[0]):
                    yield row
                    continue
                passed += 1
                if passed % ROWS_BETWEEN_CHECKS == 0:
                    snapshot.check()


def range_of(given: Given) -> KeyRange:
    """The keys that may pass: what is no text is left to SQLite."""
    lows, highs = [], []
    for name, value in given.items():
        text = _text(value)
        if text is None:
            continue
        if name == "key>=":
            lows.append(text)
        elif name == "key>":
            lows.append(text + "\0")
        elif name == "key<":
            highs.append(text)
        elif name == "key<=":
            highs.append(text + "\0")
    glob, like = given.get("key GLOB "), given.get("key LIKE ")
    if isinstance(glob, str):
        start = _start(glob, _WILD)
        lows.append(start)
        highs += [end for end in (after_prefix(start),) if end is not None]
    if isinstance(like, str):
        # LIKE takes letters of either case for one: only what stands before the first tells.
        start = _start(like, "%_")
        letters = [place for place, each in enumerate(start) if each.isascii() and each.isalpha()]
        start = start[: letters[0]] if letters else start
        lows.append(start)
        highs += [end for end in (after_prefix(start),) if end is not None]
    return KeyRange(
        max(lows, default=None),
        min(highs, default=None),
        glob if isinstance(glob, str) and len(glob) <= LIKE_CHARS_MAX else None,
        like if isinstance(like, str) and len(like) <= LIKE_CHARS_MAX else None,
    )


def within(wanted: KeyRange, beginnings: Sequence[str]) -> list[KeyRange]:
    """The parts of a range whose keys begin with one of these, in their order."""
    ranges: list[KeyRange] = []
    last: str | None = None
    for start in sorted(beginnings):
        if last is not None and start.startswith(last):
            continue
        last = start
        end = after_prefix(start)
        low = start if wanted.low is None else max(start, wanted.low)
        ends = [each for each in (end, wanted.high) if each is not None]
        high = min(ends, default=None)
        if high is None or low < high:
            ranges.append(KeyRange(low, high, wanted.glob, wanted.like))
    return ranges


def _start(pattern: str, wild: str) -> str:
    for place, each in enumerate(pattern):
        if each in wild:
            return pattern[:place]
    return pattern


def _text(value: Any) -> str | None:
    """What a TEXT column is compared with; None where SQLite may know another form of it."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else None
