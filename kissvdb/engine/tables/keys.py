"""The keys of the shards at one moment, read by one thread while writes go on.

A shard's newest keys are those of its memtables: of those that are sealed as they are, of the one
that takes writes a copy. What is older is read from its table: through a connection of its own that
holds on to the moment or, of a table in memory, which has only the loop's connection, in pages that
the loop is asked for, while nothing new is stored into it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain, islice

import attrs
import trio
import trio.from_thread
import trio.lowlevel

from kissvdb.core.state.memtable import in_order
from kissvdb.engine.recovery import shard_of
from kissvdb.engine.state.view import StateView
from kissvdb.records import Item
from kissvdb.storage.state.table_reader import Row, TableReader

PAGE_ITEMS = 512
"""Of a table in memory: so many take the loop some 0.2 ms."""


@attrs.frozen
class KeyRange:
    """Keys from ``low`` on and before ``high``; only such as match, or none else is asked for:
    who reads may get others, too."""

    low: str | None = None
    high: str | None = None
    glob: str | None = None
    like: str | None = None

    def holds(self, key: str) -> bool:
        """Whether the key is between the bounds."""
        return (self.low is None or key >= self.low) and (self.high is None or key < self.high)


class ShardKeys:
    """One shard's keys at one moment: made on the loop, read by one thread, ended by anyone."""

    def __init__(self, view: StateView, reader: TableReader | None) -> None:
        """``reader``: of a table in a file."""
        self.view = view
        self._reader = reader
        self._token = trio.lowlevel.current_trio_token()
        self._layers: tuple[dict[str, Item | None], ...] = ()
        self._merged: dict[str, Item | None] | None = None
        self._names: list[str] | None = None

    def begin(self, is_over: Callable[[], bool]) -> None:
        """The moment is now. Raises apsw.BusyError where it has to be tried again."""
        if self._reader is None:
            self.view.pin(self)
        else:
            self._reader.begin(is_over)
        self._layers = self.view.overlay()
        self._merged = None
        self._names = None

    def end(self) -> None:
        """Let go of the moment."""
        self._layers = ()
        self._merged = None
        self._names = None
        if self._reader is None:
            self.view.unpin(self)
        else:
            self._reader.end()

    def close(self) -> None:
        """It has ended, and is not begun again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            self.view.table.give_back(reader)

    def get(self, key: str, now_ms: int) -> Row | None:
        """A living key."""
        for layer in self._layers:
            if key in layer:
                newest = layer[key]
                return None if newest is None or not _lives(newest, now_ms) else _row(newest)
        if self._reader is not None:
            return self._reader.get(key, now_ms)
        item = trio.from_thread.run_sync(self.view.table.get, key, trio_token=self._token)
        return None if item is None or not _lives(item, now_ms) else _row(item)

    def rows(self, wanted: KeyRange, now_ms: int, *, values: bool, ordered: bool) -> Iterator[Row]:
        """Living keys; in byte order if they are to be ``ordered``."""
        overlay = self._overlay()
        stored = self._stored(wanted, now_ms, values=values)
        if not overlay:
            return stored
        older = (row for row in stored if row[0] not in overlay)
        if ordered:
            return merge(older, self._newer(wanted, now_ms))
        newer = [
            _row(item)
            for key, item in overlay.items()
            if item is not None and wanted.holds(key) and _lives(item, now_ms)
        ]
        return chain(newer, older)

    def _overlay(self) -> dict[str, Item | None]:
        """All layers as one, made once for all ranges of a statement."""
        if len(self._layers) <= 1:
            return self._layers[0] if self._layers else {}
        if self._merged is None:
            self._merged = {}
            for layer in reversed(self._layers):
                self._merged |= layer
        return self._merged

    def _newer(self, wanted: KeyRange, now_ms: int) -> Iterator[Row]:
        """Those of the layers, in order; only as far as they are asked for."""
        overlay = self._overlay()
        if self._names is None:
            # Once for all ranges of a statement.
            self._names = [key for some in in_order(overlay) for key in some]
        names = self._names
        start = 0 if wanted.low is None else bisect_left(names, wanted.low)
        end = len(names) if wanted.high is None else bisect_left(names, wanted.high)
        for place in range(start, end):
            item = overlay[names[place]]
            if item is not None and _lives(item, now_ms):
                yield _row(item)

    def _stored(self, wanted: KeyRange, now_ms: int, *, values: bool) -> Iterator[Row]:
        if self._reader is None:
            return self._paged(wanted, now_ms)
        return self._reader.rows(
            wanted.low,
            wanted.high,
            now_ms,
            values=values,
            glob=wanted.glob,
            like=wanted.like,
        )

    def _paged(self, wanted: KeyRange, now_ms: int) -> Iterator[Row]:
        after: str | None = None
        if wanted.low:
            first = trio.from_thread.run_sync(
                self.view.table.get, wanted.low, trio_token=self._token
            )
            if first is not None and _lives(first, now_ms):
                yield _row(first)
            after = wanted.low
        while True:
            page = trio.from_thread.run_sync(self._page, after, now_ms, trio_token=self._token)
            for item in page:
                if wanted.high is not None and item.key >= wanted.high:
                    return
                yield _row(item)
            if len(page) < PAGE_ITEMS:
                return
            after = page[-1].key

    def _page(self, after: str | None, now_ms: int) -> list[Item]:
        items = self.view.table.items("", after=after, now_ms=now_ms)
        try:
            return list(islice(items, PAGE_ITEMS))
        finally:
            items.close()


@attrs.frozen(eq=False)
class Keys:
    """All keys at one moment."""

    shards: tuple[ShardKeys, ...]
    now_ms: int

    def get(self, key: str) -> Row | None:
        """A living key."""
        place = 0 if len(self.shards) == 1 else shard_of(key, len(self.shards))
        return self.shards[place].get(key, self.now_ms)

    def rows(self, wanted: KeyRange, *, values: bool, ordered: bool) -> Iterator[Row]:
        """Living keys; in byte order if they are to be ``ordered``. What matches no pattern, and
        what is beyond a bound where a pattern is given, may be among them."""
        parts = [
            shard.rows(wanted, self.now_ms, values=values, ordered=ordered) for shard in self.shards
        ]
        if len(parts) == 1:
            return parts[0]
        return merge(*parts) if ordered else chain.from_iterable(parts)


def _lives(item: Item, now_ms: int) -> bool:
    return item.expires_at_ms is None or item.expires_at_ms > now_ms


def _row(item: Item) -> Row:
    return item.key, item.value.decode(), item.revision, item.offset, item.expires_at_ms
