"""Searches of which all is known but the vector: what they are on one view is worked out once.

Such a search is three calls of kernels in memory that is kept: its vector is read, rows are found,
hits are written. It finds what ``core.rows.search.as_text`` finds and writes the same bytes, or
leaves it to others.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.index.graph import SURE_MIN, GraphIndex
from kissvdb.core.index.index import TIES_SPARE, Plan, SearchTooNarrow
from kissvdb.core.index.kernels import as_kernels_take_them, tail_of
from kissvdb.core.rows.search import Source, plan
from kissvdb.core.search import Search
from kissvdb.core.store.space import RowData
from kissvdb.core.store.spec import NUMBER_MAX
from kissvdb.kernels.arrays import METRICS, POOL_PADDING, Codes, Graph, Scratch, new_scratch, padded
from kissvdb.kernels.graph import at_once
from kissvdb.kernels.graph.filtered import REACH
from kissvdb.kernels.graph.search import extent, room
from kissvdb.kernels.json import searching
from kissvdb.kernels.json.hits import NO_ROOM
from kissvdb.kernels.json.text import PADDING
from kissvdb.kernels.plain import LANES

Array = npt.NDArray[Any]

TEXT_BYTES_MAX: Final = 64 * 1024
"""Of a vector as JSON."""
WANT_MAX: Final = 64
_FOUND_MAX: Final = WANT_MAX + TIES_SPARE
_HITS_BYTES: Final = 4096
_HITS_BYTES_MAX: Final = 1024 * 1024
_POOL_ENTRIES_MIN: Final = 4096
_SHAPES_MAX: Final = 8
_NO_BITMAP: Final = np.zeros(0, np.uint64)


class Memory:
    """Where searches by vectors of one length work, one after the other, on one thread."""

    def __init__(self, dim: int) -> None:
        self.text = np.zeros(TEXT_BYTES_MAX + PADDING, np.uint8)
        self.vector = np.zeros((1, dim), np.float32)
        self.query = np.zeros((1, padded(dim, LANES)), np.float32)
        self.found = np.zeros((1, _FOUND_MAX), np.int64)
        self.found_scores = np.zeros((1, _FOUND_MAX), np.float32)
        self.tail = np.zeros((1, _FOUND_MAX), np.int64)
        self.tail_scores = np.zeros((1, _FOUND_MAX), np.float32)
        self.merged = np.zeros(2 * _FOUND_MAX, np.int64)
        self.merged_scores = np.zeros(2 * _FOUND_MAX, np.float32)
        self.cut = np.zeros(1, np.bool_)
        self.results = np.zeros(_FOUND_MAX + POOL_PADDING, np.uint64)
        self.out = np.zeros(_HITS_BYTES, np.uint8)
        self._scratch: Scratch | None = None
        self._links = 0

    def scratch(self, graph: Graph, entries: int) -> Scratch:
        """Working memory for a walk of this graph with pools of so many entries."""
        rows, links = graph.links.shape
        entries = max(entries, _POOL_ENTRIES_MIN)
        kept = self._scratch
        if kept is not None and self._links == links:
            if kept.stamps.shape[0] >= rows and kept.pool.shape[0] >= entries + POOL_PADDING:
                return kept
            entries = max(entries, kept.pool.shape[0] - POOL_PADDING)
        dim = self.vector.shape[1]
        self._scratch, self._links = new_scratch(rows, entries, links, dim), links
        return self._scratch


def memory_of(memories: dict[Any, Any], dim: int) -> Memory:
    """The one for vectors of ``dim`` numbers, of those of one thread."""
    found: Memory | None = memories.get(dim)
    if found is None:
        if len(memories) >= _SHAPES_MAX:
            memories.clear()
        found = memories[dim] = Memory(dim)
    return found


class Ready:
    """A search that is ready for its vector, on one view."""

    __slots__ = ("_base", "_memory", "_metric", "_scan", "_scanned", "_walk", "_walked", "_write")

    def __init__(self, source: Source, search: Search, memory: Memory, *, meta: bool) -> None:
        data, want = source.data, search.k
        way = plan(source, search)
        self._memory = memory
        self._metric = METRICS[data.metric]
        count = want + TIES_SPARE
        self._walk, self._walked = _walk_of(source, way, want, memory)
        needed = min(want, way.allowed) if way.name in ("graph", "filtered graph") else 0
        self._scan, self._scanned, base = _scan_of(source, way, count, memory)
        self._write = (
            *(memory.found, memory.found_scores, count if self._walk else 0, needed, memory.cut),
            *(memory.tail, memory.tail_scores, count if self._scan else 0, base),
            *(data.metric == "l2", memory.merged, memory.merged_scores, want),
            *(data.ends, data.blob, meta),
        )

    @property
    def vector(self) -> bytes:
        """The vector that was read last, little-endian float32."""
        return self._memory.vector.tobytes()

    def of_json(self, body: bytes, start: int, stop: int) -> tuple[bytes, int] | None:
        """The hits of the vector whose numbers and closing bracket are ``body[start:stop]``, as an
        array of JSON, and how many they are. None where others are to tell.

        Raises SearchTooNarrow where a walk is not enough.
        """
        memory = self._memory
        if stop - start > TEXT_BYTES_MAX:
            return None
        read = searching.read_query(
            *(np.frombuffer(body, np.uint8), start, stop, NUMBER_MAX, self._metric),
            *(memory.text, memory.vector, memory.query),
        )
        return self._found() if read else None

    def of_numbers(self, numbers: bytes) -> tuple[bytes, int] | None:
        """As ``of_json``, of little-endian float32."""
        memory = self._memory
        if len(numbers) != memory.vector.nbytes:
            return None
        vector = np.frombuffer(numbers, np.float32)
        if not searching.take_query(vector, NUMBER_MAX, self._metric, memory.vector, memory.query):
            return None
        return self._found()

    def _found(self) -> tuple[bytes, int] | None:
        memory = self._memory
        if self._walk is not None:
            self._walk(*self._walked)
        if self._scan is not None:
            self._scan(*self._scanned)
        while True:
            length, count = searching.write_found(*self._write, memory.out)
            if length > 0:
                return memory.out[:length].tobytes(), count
            if length == searching.NARROW:
                raise SearchTooNarrow
            room = 4 * memory.out.size
            if length != NO_ROOM or room > _HITS_BYTES_MAX:
                return None
            memory.out = np.zeros(room, np.uint8)


Call = tuple[Callable[..., Any] | None, tuple[Any, ...]]


def _walk_of(source: Source, way: Plan, want: int, memory: Memory) -> Call:
    """How the indexed rows are searched: a function, and what to call it with."""
    if way.name in ("exact scan", "tail scan"):
        return None, ()
    data, index, allow, count = source.data, source.index, source.allow, want + TIES_SPARE
    memory.cut[0] = False
    if not isinstance(index, GraphIndex):

        def search() -> None:
            rows, scores = index.search(data, memory.query, want, way, allow, may_scan=False)
            memory.found[0, :count], memory.found_scores[0, :count] = rows[0], scores[0]
            memory.cut[0] = False

        return search, ()
    assert index.body is not None
    return _of_graph(index.body.graph, index.body.walk, data, way, want, allow, memory)


def _of_graph(
    graph: Graph,
    codes: Codes,
    data: RowData,
    way: Plan,
    want: int,
    allow: Words | None,
    memory: Memory,
) -> Call:
    """As ``_walk_of``, of a graph: a kernel, its arguments as ``GraphIndex.search`` has them."""
    rows, metric = as_kernels_take_them(data.vectors, data.metric)
    count, answer = want + TIES_SPARE, (memory.found, memory.found_scores)
    if way.name == "code scan":
        depth = max(way.depth, count)
        scratch, chosen = memory.scratch(graph, depth), _NO_BITMAP if allow is None else allow

        def scan(*arguments: Any) -> None:
            memory.cut[0] = False
            at_once.scan_codes(*arguments)

        return scan, (
            *(codes, rows, graph.size, metric, memory.query, count, want, depth),
            *(chosen, scratch, *answer),
        )
    ef, sure = max(way.ef, count), max(want, min(count, SURE_MIN))
    depth = min(max(way.depth, count), ef)
    places = room(count, ef)
    least, kept, most, stretch = extent(metric, count, sure, ef, places)
    bounds = (count, sure, least, kept, most, stretch, depth)
    if way.name == "graph":
        scratch = memory.scratch(graph, places)
        return at_once.search, (
            *(graph, codes, rows, metric, memory.query, *bounds),
            *(scratch, *answer, memory.cut),
        )
    assert allow is not None, "without a bitmap all rows pass"
    reach = REACH * ef * graph.size // max(way.allowed, 1)
    scratch = memory.scratch(graph, max(most, min(reach, graph.size)))
    reach = max(most, min(reach, scratch.pool.shape[0] - POOL_PADDING))
    return at_once.search_filtered, (
        *(graph, codes, rows, metric, memory.query, *bounds),
        *(allow, reach, scratch, *answer, memory.cut),
    )


def _scan_of(
    source: Source, way: Plan, count: int, memory: Memory
) -> tuple[Callable[..., Any] | None, tuple[Any, ...], int]:
    """How the rows behind the indexed ones are searched, as ``_walk_of``, and what is to be added
    to the rows found."""
    data = source.data
    first = 0 if way.name == "exact scan" else source.index.size
    if first >= data.count or not source.allowed:
        return None, (), 0
    base, chosen = tail_of(first, data.count, source.allow)
    rows, metric = as_kernels_take_them(data.vectors[base:], data.metric)
    return (
        at_once.scan_rows,
        (
            *(rows, data.count - base, metric, memory.query, count, chosen),
            *(memory.results, memory.tail, memory.tail_scores),
        ),
        base,
    )
