"""The metadata of a run of rows, every field a column; immutable once built.

Segments answer conditions in Kleene's three-valued logic: a pair of flags a row, ``sure`` and
``possible``. A row that is possible but not sure has a value that its code does not tell; only
its document can decide. Where nothing is left open the two are the same array.
"""

from collections.abc import Mapping, Sequence, Set
from itertools import chain
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Flags, Rows
from kissvdb.core.filters import parse as filters
from kissvdb.core.filters.parse import Leaf, Node
from kissvdb.core.metadata import column_building, column_ranges
from kissvdb.core.metadata.columns import OTHER, UNKNOWN, UNTOLD, Column

FIELDS_MAX = 1000
"""Fields with a column in one segment; the rarest beyond that are not indexed. Nested objects
count by leaf and by node: {"a": {"b": 1}} has the fields "a" and "a.b"."""
PATH_PARTS_MAX = 8
PATH_CHARS_MAX = 256
"""Fields below deeper or longer paths are not indexed."""

_NARROWING_ELEMENTS_MAX = 4
_SHAPES_MAX = 16

Outcome = tuple[Flags, Flags]
"""``(sure, possible)``, bool[row_count] each; the same array where nothing is open."""


@attrs.frozen(eq=False)
class Segment:
    """``fields`` by path; ``elements``: the elements of arrays, by the path of the array.

    ``unindexed``: ascending rows that have a field which has no column here.
    """

    row_count: int
    fields: Mapping[str, Column]
    elements: Mapping[str, Column]
    unindexed: Rows

    def evaluate(self, node: Node) -> Outcome:
        """What the columns say about every row."""
        if isinstance(node, filters.Not):
            sure, possible = self.evaluate(node.part)
            turned = ~possible
            return turned, turned if sure is possible else ~sure
        if isinstance(node, filters.And):
            return self._combine(node.parts, np.bitwise_and, True)
        if isinstance(node, filters.Or):
            return self._combine(node.parts, np.bitwise_or, False)
        return self._leaf(node)

    def _combine(self, parts: Sequence[Node], operation: np.ufunc, neutral: bool) -> Outcome:
        if not parts:
            flags = np.full(self.row_count, neutral)
            return flags, flags
        # One after the other: a thousand parts must not be a thousand arrays at once.
        sure, possible = self.evaluate(parts[0])
        for part in parts[1:]:
            also_sure, also_possible = self.evaluate(part)
            known = sure is possible and also_sure is also_possible
            sure = operation(sure, also_sure)
            possible = sure if known else operation(possible, also_possible)
        return sure, possible

    def _leaf(self, leaf: Leaf) -> Outcome:
        column = self.fields.get(leaf.path)
        if column is None:
            return self._without_column()
        if isinstance(leaf, filters.Contains):
            return self._contains(column, leaf)
        if isinstance(leaf, filters.In):
            outcome = _judge(column, column_ranges.any_of(column.values, leaf.values))
            return self._narrowed(column, leaf, outcome)
        if isinstance(leaf, filters.Range):
            return _judge(column, column_ranges.within(column.values, leaf))
        if isinstance(leaf, filters.Prefix):
            return _judge(column, column_ranges.prefixed(column.values, leaf.prefix))
        return _judge(column, column_ranges.exists(column.values))

    def _without_column(self) -> Outcome:
        sure = np.zeros(self.row_count, np.bool_)
        if not len(self.unindexed):
            return sure, sure
        possible = sure.copy()
        possible[self.unindexed] = True
        return sure, possible

    def _contains(self, column: Column, leaf: filters.Contains) -> Outcome:
        elements = self.elements.get(leaf.path)
        if elements is None:
            sure = possible = np.zeros(self.row_count, np.bool_)
        else:
            sure, possible = _judge(elements, column_ranges.any_of(elements.values, leaf.values))
        untold = column.occurring([(UNKNOWN, OTHER + 1)])
        return (sure, possible | column.mask(untold)) if untold else (sure, possible)

    def _narrowed(self, column: Column, leaf: filters.In, outcome: Outcome) -> Outcome:
        """Equality with a whole array leaves all arrays open: ask for its elements as well."""
        if outcome[0] is outcome[1] or len(leaf.values.values) != 1:
            return outcome
        value = leaf.values.values[0]
        if type(value) is not list:
            return outcome
        sure, possible = outcome
        for element in value[:_NARROWING_ELEMENTS_MAX]:
            possible = possible & self._contains(column, filters.Contains(leaf.path, (element,)))[1]
        return sure, possible

    def value_at(self, row: int, path: str) -> Any:
        """The value of a field, MISSING without one, UNTOLD where only the document has it."""
        column = self.fields.get(path)
        if column is None:
            return UNTOLD if row in self.unindexed else filters.MISSING
        return column.value_at(row)

    def take(self, keep: npt.NDArray[np.intp]) -> "Segment":
        """The segment of the rows ``keep`` (ascending), renumbered 0..len(keep) - 1."""
        return Segment(
            len(keep),
            _taken(self.fields, keep),
            _taken(self.elements, keep),
            np.flatnonzero(np.isin(keep, self.unindexed)).astype(np.uint32),
        )


def _judge(column: Column, verdict: column_ranges.Verdict) -> Outcome:
    sure = column.mask(column.occurring(verdict[0]))
    undecided = column.occurring(verdict[1])
    return (sure, sure | column.mask(undecided)) if undecided else (sure, sure)


def _taken(columns: Mapping[str, Column], keep: npt.NDArray[np.intp]) -> dict[str, Column]:
    taken = {path: column.take(keep) for path, column in columns.items()}
    return {path: column for path, column in taken.items() if len(column.codes)}


class _Builder:
    """Collects the values of new rows by path."""

    def __init__(self, fields_max: int) -> None:
        self._fields_max = fields_max
        self._fields: dict[str, tuple[list[int], Any]] = {}
        self._elements: dict[str, tuple[list[int], list[Any]]] = {}
        self._unindexed: list[int] = []
        # The types of the values of each field, where they are known.
        self._kinds: dict[str, set[type]] = {}

    def add_alike(self, documents: Sequence[Any]) -> bool:
        """Add all rows, column by column: some 3x as fast. False, and nothing is added, unless they
        are flat objects of a few shapes."""
        shapes: dict[tuple[str, ...], list[int]] = {}
        for row, document in enumerate(documents):
            if type(document) is dict:
                try:
                    shapes[tuple(document)].append(row)
                except KeyError:
                    if len(shapes) == _SHAPES_MAX:
                        return False
                    shapes[tuple(document)] = [row]
        paths = dict.fromkeys(path for shape in shapes for path in shape)
        if len(paths) > self._fields_max or not all(map(indexable, paths)):
            return False
        parts: dict[str, list[tuple[list[int], Sequence[Any]]]] = {path: [] for path in paths}
        kinds: dict[str, set[type]] = {path: set() for path in paths}
        for shape, rows in shapes.items():
            # In the order in which they lie in memory.
            flat = list(chain.from_iterable([documents[row].values() for row in rows]))
            for place, path in enumerate(shape):
                values = flat[place :: len(shape)]
                # Every look at the type of a value is one at memory far away: this one is kept.
                kinds[path].update(map(type, values))
                if dict in kinds[path]:
                    return False
                parts[path].append((rows, values))
        self._fields = {path: _in_order(some) for path, some in parts.items()}
        self._kinds = kinds
        for path, (rows, values) in self._fields.items():
            for row, value in zip(rows, values, strict=True) if list in kinds[path] else ():
                if type(value) is list and value:
                    self._add_elements(path, row, value)
        return True

    def add(self, row: int, document: Any) -> None:
        if type(document) is not dict:
            return
        if dict in map(type, document.values()):
            document = _flattened(document)
        for path, value in document.items():
            try:
                rows, values = self._fields[path]
            except KeyError:
                if len(self._fields) >= self._fields_max or not indexable(path):
                    if self._unindexed[-1:] != [row]:
                        self._unindexed.append(row)
                    continue
                rows, values = self._fields[path] = ([], [])
            rows.append(row)
            values.append(value)
            if type(value) is list and value:
                self._add_elements(path, row, value)

    def _add_elements(self, path: str, row: int, elements: list[Any]) -> None:
        try:
            rows, values = self._elements[path]
        except KeyError:
            rows, values = self._elements[path] = ([], [])
        rows.extend([row] * len(elements))
        values.extend(elements)

    @property
    def paths(self) -> Set[str]:
        return self._fields.keys()

    def build(self, row_count: int) -> Segment:
        return Segment(
            row_count,
            _encoded(row_count, self._fields, self._kinds),
            _encoded(row_count, self._elements, {}),
            np.array(self._unindexed, np.uint32),
        )


def _encoded(
    row_count: int,
    found: Mapping[str, tuple[list[int], Sequence[Any]]],
    kinds: Mapping[str, set[type]],
) -> dict[str, Column]:
    # Fields of documents that are alike share the list of their rows.
    rows = {id(each): np.array(each, np.uint32) for each, _ in found.values()}
    return {
        path: column_building.encode(row_count, rows[id(mine)], values, kinds.get(path))
        for path, (mine, values) in found.items()
    }


def build(documents: Sequence[Any], fields_max: int = FIELDS_MAX) -> Segment:
    """The segment of decoded JSON documents, one a row; what is not an object has no fields."""
    builder = _Builder(fields_max)
    if not builder.add_alike(documents):
        for row, document in enumerate(documents):
            builder.add(row, document)
    return builder.build(len(documents))


def paths(documents: Sequence[Any], fields_max: int = FIELDS_MAX) -> Set[str]:
    """The fields that the segment of these documents would have."""
    builder = _Builder(fields_max)
    for row, document in enumerate(documents):
        builder.add(row, document)
    return builder.paths


def _in_order(parts: list[tuple[list[int], Sequence[Any]]]) -> tuple[list[int], Sequence[Any]]:
    """(rows, values) as one, the rows ascending."""
    if len(parts) == 1:
        return parts[0]
    rows = [row for some, _ in parts for row in some]
    values = [value for _, some in parts for value in some]
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return [rows[n] for n in order], [values[n] for n in order]


def indexable(path: str) -> bool:
    """Whether the field of a path may have a column."""
    return len(path) <= PATH_CHARS_MAX and path.count(".") < PATH_PARTS_MAX


def _flattened(document: dict[str, Any]) -> dict[str, Any]:
    """Every path ``filters.lookup`` finds something at, with what it finds.

    Deeper paths go in first, so that a literal key with a dot replaces them, as it does there.
    One level too many is kept: ``indexable`` refuses it and marks the row.
    """
    paths: dict[str, Any] = {}

    def enter(value: dict[str, Any], prefix: str, parts: int) -> None:
        literal = []
        for key, member in value.items():
            if "." in key:
                literal.append((prefix + key, member))
                continue
            paths[prefix + key] = member
            if type(member) is dict and parts <= PATH_PARTS_MAX:
                enter(member, f"{prefix}{key}.", parts + 1)
        paths.update(literal)

    enter(document, "", 1)
    return paths


def merge(segments: Sequence[Segment], fields_max: int = FIELDS_MAX) -> Segment:
    """One segment of the rows of all, one after the other. Pure, so good for a thread."""
    nothing = np.zeros(0, np.uint32)
    fields = {}
    for path in dict.fromkeys(path for segment in segments for path in segment.fields):
        fields[path] = column_building.merge(
            (segment.fields.get(path), segment.row_count, segment.unindexed) for segment in segments
        )
    dropped = []
    if len(fields) > fields_max:
        counts = {path: len(column.present()) for path, column in fields.items()}
        dropped = sorted(fields, key=lambda path: (-counts[path], path))[fields_max:]
    bases = np.cumsum([0, *(segment.row_count for segment in segments)]).astype(np.uint32)
    unindexed = [base + segment.unindexed for base, segment in zip(bases, segments, strict=False)]
    unindexed += [fields.pop(path).present() for path in dropped]
    elements = {
        path: column_building.merge(
            (segment.elements.get(path), segment.row_count, nothing) for segment in segments
        )
        for path in dict.fromkeys(path for segment in segments for path in segment.elements)
        if path in fields
    }
    return Segment(int(bases[-1]), fields, elements, np.unique(np.concatenate(unindexed)))
