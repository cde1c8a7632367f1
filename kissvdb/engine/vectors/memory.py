"""What vector collections take of memory and disk; a bound on it, ``limits.vector_memory_bytes``.

The bound is on what the process takes for itself; what is mapped from files the kernel drops when
memory is short. Each collection is measured in a thread after it has changed. Writes are let in by
that and by an estimate of the rows since, so that a full server refuses them before they are
logged. What takes no more is always let in; what is there at a start stays.

What a vacuum or a reindex makes beside a collection is not counted: it takes the other's place, and
must be possible where there is too much.
"""

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from kissvdb.core.store.memory import EMPTY_BYTES, ID_BYTES, Room, exceeded, filed_bytes
from kissvdb.core.store.spec import CollectionSpec, is_shadow
from kissvdb.engine.threads import Threads

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without vectors starts faster without.
    from kissvdb.core.rows.owner import Rows
    from kissvdb.engine.rows.footprint import Footprint
    from kissvdb.engine.vectors.registry import OpenCollection

TICK_SECONDS = 1.0
MEASURED_ROWS_MIN = 1024
"""So many rows tell what one takes, with its metadata and texts."""


@attrs.frozen(eq=False)
class _Measured:
    """``key``: what it is of; another one, and it is to be done again. ``passing``: bytes of the
    heap that are there only until an index is built."""

    key: tuple[Any, ...]
    found: "Footprint"
    passing: int


class VectorMemory:
    """Of all vector collections of a database. Lives on the event loop."""

    def __init__(self) -> None:
        self._most = 0
        self._in_memory = False
        self._opened: Mapping[str, OpenCollection] = {}
        self._measured: dict[str, _Measured] = {}
        self._needs: dict[str, int] = {}

    def open(self, opened: "Mapping[str, OpenCollection]", most: int, *, in_memory: bool) -> None:
        """These are the collections, by name, now and later. They may take ``most`` bytes of
        memory; 0: any. ``in_memory``: there are no files."""
        self._opened, self._most, self._in_memory = opened, most, in_memory

    async def run(self, threads: Threads) -> None:
        """The task that measures what has changed, while there is a bound."""
        while self._most:
            for found in list(self._opened.values()):
                if not is_shadow(found.name):
                    await self.measured(found, threads)
                    self._note_need(found.name, found.actor.rows)
            await trio.sleep(TICK_SECONDS)

    async def measured(self, found: "OpenCollection", threads: Threads) -> "Footprint":
        """What a collection takes as it is now."""
        # Not before there is a collection: see above.
        from kissvdb.engine.rows.footprint import footprint

        rows, name = found.actor.rows, found.name
        key = (weakref.ref(rows), found.actor.changes, found.upkeep.done_total)
        known = self._measured.get(name)
        if known is None or known.key != key:
            passing = rows.passing_bytes
            count, parts, directory = rows.counts[1], rows.parts, found.stored.directory
            size = await threads.commits.run(footprint, parts, rows.space, directory, count)
            known = _Measured(key, size, passing)
            if self._opened.get(name) is found:
                self._measured[name] = known
            if len(self._measured) > len(self._opened):
                self._forget_dropped()
        return known.found

    def room(self, rows: "Rows") -> Room | None:
        """How much more these may get; None: there is no bound."""
        spec = rows.spec
        if not self._most or is_shadow(spec.name):
            return None
        row_bytes = self._note_need(spec.name, rows)
        return Room(spec.name, self._total(), self._most, row_bytes, self._way_out(spec))

    def check_new(self, spec: CollectionSpec) -> None:
        """Raises MemoryExceeded if there is no room for another collection."""
        if self._most:
            room = Room(spec.name, self._total(), self._most, 0, "")
            need = room.total + EMPTY_BYTES
            if need > self._most:
                raise exceeded(f"a new collection {spec.name!r}", need, room)

    def check_reindex(self, rows: "Rows", wanted: CollectionSpec) -> None:
        """Raises MemoryExceeded if a collection would take too much more as ``wanted``."""
        room = self.room(rows)
        more = rows.counts[1] * (self._row_bytes(wanted) - self._row_bytes(rows.spec))
        if room is not None and more > 0 and room.total + more > room.most:
            what = f"collection {rows.spec.name!r} with the index {wanted.index}"
            raise exceeded(what, room.total + more, room)

    def _row_bytes(self, spec: CollectionSpec) -> int:
        from kissvdb.core.index.kinds import KINDS

        links, filed = KINDS[spec.index].row_bytes(spec)
        size = ID_BYTES + links
        return size + filed_bytes(spec) + filed if self._in_memory else size

    def _way_out(self, spec: CollectionSpec) -> str:
        if self._in_memory or spec.index == "vamana":
            return ""
        return (
            f", or give it another index: POST /v1/vector/{spec.name}/reindex with "
            '{"index": {"kind": "vamana"}}, whose links are on disk'
        )

    def _note_need(self, name: str, rows: "Rows") -> int:
        """Note what a collection needs now; answers what a row of it does."""
        count, row_bytes = rows.counts[1], self._row_bytes(rows.spec)
        need = EMPTY_BYTES + count * row_bytes
        known = self._measured.get(name)
        if known is not None and known.key[0]() is rows:
            found, lasting = known.found, known.found.heap - known.passing
            if found.rows >= MEASURED_ROWS_MIN:
                row_bytes = max(row_bytes, lasting // found.rows)
            need = max(need, lasting + (count - found.rows) * row_bytes)
        self._needs[name] = need
        return row_bytes

    def _forget_dropped(self) -> None:
        known = self._measured.items()
        self._measured = {name: each for name, each in known if name in self._opened}

    def _total(self) -> int:
        """Bytes that all collections need."""
        if self._needs.keys() != self._opened.keys():
            # One came or went.
            self._needs = {name: need for name, need in self._needs.items() if name in self._opened}
            self._forget_dropped()
            for name, found in self._opened.items():
                if is_shadow(name):
                    self._needs[name] = 0
                elif name not in self._needs:
                    self._note_need(name, found.actor.rows)
        return sum(self._needs.values())
