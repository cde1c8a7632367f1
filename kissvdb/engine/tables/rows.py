"""The tables ``documents`` and ``vectors``: the rows of a collection."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from kissvdb.core.filters.parse import Node, parse
from kissvdb.engine.tables.module import Column, Given, Order, Plan, VirtualTable
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.errors import InvalidArgument

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.rows.view import RowsView

BLOCK_FIRST = 16
BLOCK_MAX = 256
"""So many rows are read together; the first are few, for who wants only a few."""

Read = Callable[["RowsView", int], Any]


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
        reads = [
            self.reads[each.name] if each.name in used else _nothing
            for each in self.columns
            if not each.argument
        ]
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
            block = [int(row) for row in numbers[start : start + size]]
            view.data.check(block)
            for row in block:
                yield tuple([read(view, row) for read in reads])
            start, size = start + size, min(size * 2, BLOCK_MAX)


def _nothing(view: "RowsView", row: int) -> None:
    """Of a column that is not used."""


def id_at(view: "RowsView", row: int) -> str:
    """The id of a row."""
    return view.data.id_at(row)


def meta_of(view: "RowsView", row: int) -> str | None:
    """The document of a row, or its metadata: JSON text."""
    meta = view.data.meta(row)
    return None if meta is None else meta.decode()


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
        "id": id_at,
        "doc": meta_of,
        "revision": lambda view, row: view.data.stamp(row)[0],
        "offset": lambda view, row: view.data.stamp(row)[1],
        "expires_at_ms": lambda view, row: view.data.expiry(row),
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
        "id": id_at,
        "meta": meta_of,
        "text": lambda view, row: view.data.text(row),
        "vector": lambda view, row: view.data.vector(row),
        "expires_at_ms": lambda view, row: view.data.expiry(row),
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
