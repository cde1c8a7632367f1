"""The tables ``documents`` and ``vectors``: the rows of a collection."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from kissvdb.core.filters.parse import Node, parse
from kissvdb.engine.tables.module import Column, Given, Order, Plan, VirtualTable
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.errors import InvalidArgument

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.store.space import RowData

BLOCK_FIRST = 16
BLOCK_MAX = 256
"""So many rows are read together; the first are few, for who wants only a few."""

Read = Callable[["RowData", Sequence[int]], Sequence[Any]]
"""The values of a column in some rows, in ascending order."""


class _RowsTable(VirtualTable):
    """Rows of one collection, those that pass a filter."""

    key = "id"
    reads: ClassVar[Mapping[str, Read]]
    """How each column is read of a row."""

    def plan(self, plan: Plan) -> None:
        names = set(plan.names)
        if "id=" in names:
            plan.cost, plan.rows = 10.0, 1
        elif "filters=" in names:
            plan.cost, plan.rows = 50_000.0, 10_000
        else:
            plan.cost, plan.rows = 200_000.0, 100_000

    def view(self, snapshot: Snapshot, collection: str) -> "RowsView | None":
        """The rows of a collection; None where there is none."""
        raise NotImplementedError

    def rows(
        self, snapshot: Snapshot, given: Given, used: frozenset[str], order: Order | None
    ) -> Iterator[tuple[Any, ...]]:
        view = self.view(snapshot, text_of(given["collection="], f"{self.name}: collection"))
        tree = filters_of(given.get("filters="), f"{self.name}: filters")
        if view is None:
            return
        names = [each.name for each in self.columns if not each.argument]
        if isinstance(given.get("id="), str):
            row = row_of(view, given["id="])
            numbers = [] if row is None or not _passes(view, row, tree) else [row]
        else:
            numbers = snapshot.answer(
                (self.name, given["collection="], given.get("filters=")),
                lambda: _numbers(view, tree),
            )
        size, start = BLOCK_FIRST, 0
        while start < len(numbers):
            snapshot.check()
            block = list(map(int, numbers[start : start + size]))
            view.data.check(block)
            values = [
                self.reads[name](view.data, block) if name in used else (None,) * len(block)
                for name in names
            ]
            yield from zip(*values, strict=True)
            start, size = start + size, min(size * 2, BLOCK_MAX)


def _ids(data: "RowData", rows: Sequence[int]) -> list[str]:
    blob, ends = memoryview(data.blob), data.ends  # type: ignore[arg-type]
    # What a row begins with ends the one before; of row 0 this reads the last, and it is not used.
    starts = ends[[row - 1 for row in rows], 1].tolist()
    stops = ends[rows, 0].tolist()
    if rows[0] == 0:
        starts[0] = 0
    return [str(blob[start:stop], "utf-8") for start, stop in zip(starts, stops, strict=True)]


def metas_of(data: "RowData", rows: Sequence[int]) -> list[str | None]:
    """The documents of rows, or their metadata: JSON texts."""
    blob = memoryview(data.blob)  # type: ignore[arg-type]
    ends = data.ends[rows].tolist()
    return [str(blob[start:stop], "utf-8") or None for start, stop in ends]


def _texts(data: "RowData", rows: Sequence[int]) -> list[str | None]:
    return list(map(data.text, rows))


def _expiries(data: "RowData", rows: Sequence[int]) -> list[int | None]:
    return [at_ms or None for at_ms in data.expires_at_ms[rows].tolist()]


def _stamps(data: "RowData", rows: Sequence[int], place: int) -> list[int]:
    assert data.stamps is not None, "rows of documents have them"
    found: list[int] = data.stamps[rows, place].tolist()
    return found


class DocumentsTable(_RowsTable):
    """``documents(id, doc, revision, offset, expires_at_ms)`` of a ``collection``; ``doc`` is JSON
    text."""

    name = "documents"
    columns = (
        Column("id", "TEXT", ("=",)),
        Column("doc", "TEXT"),
        Column("revision", "INTEGER"),
        Column("offset", "INTEGER"),
        Column("expires_at_ms", "INTEGER"),
        Column("collection", "TEXT", argument=True, required=True),
        Column("filters", "TEXT", argument=True),
    )
    usage = "FROM documents('notes'), or documents('notes', '{\"lang\": \"en\"}') for some"
    reads: ClassVar[Mapping[str, Read]] = {
        "id": _ids,
        "doc": metas_of,
        "revision": partial(_stamps, place=0),
        "offset": partial(_stamps, place=1),
        "expires_at_ms": _expiries,
    }

    def view(self, snapshot: Snapshot, collection: str) -> "RowsView | None":
        return snapshot.of_documents(collection)


class VectorsTable(_RowsTable):
    """``vectors(id, meta, text, vector, expires_at_ms)`` of a ``collection``; ``vector`` is a blob
    of little-endian float32, as it was sent."""

    name = "vectors"
    columns = (
        Column("id", "TEXT", ("=",)),
        Column("meta", "TEXT"),
        Column("text", "TEXT"),
        Column("vector", "BLOB"),
        Column("expires_at_ms", "INTEGER"),
        Column("collection", "TEXT", argument=True, required=True),
        Column("filters", "TEXT", argument=True),
    )
    usage = "FROM vectors('notes'), or vectors('notes', '{\"lang\": \"en\"}') for some"
    reads: ClassVar[Mapping[str, Read]] = {
        "id": _ids,
        "meta": metas_of,
        "text": _texts,
        "vector": lambda data, rows: list(map(data.vector, rows)),
        "expires_at_ms": _expiries,
    }

    def view(self, snapshot: Snapshot, collection: str) -> "RowsView | None":
        return snapshot.of_vectors(collection)


def text_of(value: Any, what: str) -> str:
    """An argument that must be text. Raises InvalidArgument."""
    if not isinstance(value, str):
        raise InvalidArgument(f"{what} must be text, not {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """What to call a value of SQL."""
    kinds = {type(None): "NULL", int: "an integer", float: "a real", str: "text", bytes: "a blob"}
    return kinds.get(type(value), "that")


def filters_of(value: Any, what: str) -> Node | None:
    """The tree of a filter in JSON text; NULL for none. Raises InvalidArgument."""
    if value is None:
        return None
    try:
        return parse(msgspec.json.decode(text_of(value, what)))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(
            f'{what} must be JSON text, as \'{{"lang": "en", "year": {{"$gte": 2020}}}}\': {error}'
        ) from None


def row_of(view: "RowsView", id_: str) -> int | None:
    """The row of an id in this view, from any thread: since it was made the id may have got
    another row, or none."""
    row = view.ids.get(id_)
    if row is not None and row < view.data.count:
        return None if view.hidden.is_dead(row) else row
    if not view.data.count:
        return None
    return _searched(view, id_.encode())


def _searched(view: "RowsView", key: bytes) -> int | None:
    """The living row with this id, by a look at all: some ns for each."""
    import numpy as np

    data, count = view.data, view.data.count
    id_ends = data.ends[:count, 0]
    starts = np.empty(count, np.int64)
    starts[0], starts[1:] = 0, data.ends[: count - 1, 1]
    candidates = np.flatnonzero(id_ends - starts == len(key))
    wanted = np.frombuffer(key, np.uint8)
    for place in range(len(key)):
        if not len(candidates):
            return None
        candidates = candidates[data.blob[starts[candidates] + place] == wanted[place]]
    return next((row for row in candidates.tolist() if not view.hidden.is_dead(row)), None)


def _passes(view: "RowsView", row: int, tree: Node | None) -> bool:
    words = view.bitmap(tree)
    return words is None or bool(int(words[row >> 6]) >> (row & 63) & 1)


def _numbers(view: "RowsView", tree: Node | None) -> Any:
    """The rows that pass, ascending."""
    from kissvdb.core import bitmaps

    words = view.bitmap(tree)
    return range(view.data.count) if words is None else bitmaps.row_numbers(words)
