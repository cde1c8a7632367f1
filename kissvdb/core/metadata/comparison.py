"""A metadata index beside what its rows say: for whoever does not trust what was stored.

Every value that the index tells of a row is compared with the document; and filters on every field,
made of values that are there, are answered by the index and by one that was built anew.
"""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from kissvdb.core.filters.parse import (
    MISSING,
    Contains,
    Exists,
    In,
    Node,
    Prefix,
    Range,
    lookup,
)
from kissvdb.core.filters.tree import equal
from kissvdb.core.metadata.index import MetadataIndex, MetadataView

ROWS_AT_ONCE = 4096
PATHS_MAX = 512
"""Fields that are looked at, the first that come."""
VALUES_MAX = 64
"""Values of a field that are asked for."""
_DEPTH_MAX = 8

DocumentAt = Callable[[int], Any]


class _Untold(Exception):
    """The index asks for the document: it says nothing of this value."""


@attrs.define(eq=False)
class _Samples:
    """Values of one field, by their kinds."""

    scalars: dict[Any, Any] = attrs.field(factory=dict)
    elements: dict[Any, Any] = attrs.field(factory=dict)

    def note(self, value: Any) -> None:
        if isinstance(value, list):
            for element in value[:VALUES_MAX]:
                _note(self.elements, element)
        else:
            _note(self.scalars, value)

    def filters(self, path: str) -> Iterator[Node]:
        yield Exists(path)
        for value in self.scalars.values():
            yield In(path, (value,))
        if self.elements:
            yield Contains(path, tuple(self.elements.values()))
        for kinds in ((int, float), (str,)):
            bounds = sorted(each for each in self.scalars.values() if type(each) in kinds)
            if bounds:
                yield Range(path, gte=bounds[len(bounds) // 2])
            if bounds and kinds == (str,):
                yield Prefix(path, bounds[0][:2])


def _note(values: dict[Any, Any], value: Any) -> None:
    if len(values) < VALUES_MAX and isinstance(value, (str, int, float, bool, type(None))):
        values.setdefault((type(value), value), value)


def differences(index: MetadataView, document_at: DocumentAt) -> list[str]:
    """Where the index says something else than the documents of its rows; empty if nowhere."""
    samples: dict[str, _Samples] = {}
    anew = MetadataIndex()
    for first in range(0, index.row_count, ROWS_AT_ONCE):
        rows = range(first, min(first + ROWS_AT_ONCE, index.row_count))
        documents = [document_at(row) for row in rows]
        anew.extend(first, documents)
        for row, document in zip(rows, documents, strict=True):
            wrong = _wrong_value(index, row, document, samples)
            if wrong is not None:
                return [wrong]
    rebuilt = anew.view()
    for path, sample in samples.items():
        for tree in sample.filters(path):
            told, wanted = (each.bitmap(tree, document_at) for each in (index, rebuilt))
            assert told is not None, "there is a filter"
            assert wanted is not None, "there is a filter"
            if not np.array_equal(told, wanted):
                return [f"field {path!r}: the rows of {tree!r} are others"]
    return []


def _wrong_value(
    index: MetadataView, row: int, document: Any, samples: dict[str, _Samples]
) -> str | None:
    for path in _paths(document, ""):
        if path not in samples and len(samples) >= PATHS_MAX:
            continue
        value = lookup(document, path)
        samples.setdefault(path, _Samples()).note(value)
        try:
            told = index.value_at(row, path, _refuse)
        except _Untold:
            continue
        # A path of a document that leads nowhere (in {"a.b": {"c": 1}}, a.b.c) is MISSING in both.
        # What the index tells and no document has is found by the filters.
        alike = told is value if MISSING in (told, value) else equal(told, value)
        if not alike:
            return f"row {row}, field {path!r}: {told!r}, not {value!r}"
    return None


def _refuse(row: int) -> Any:
    raise _Untold


def _paths(document: Any, before: str, depth: int = 0) -> Iterator[str]:
    if not isinstance(document, dict) or depth == _DEPTH_MAX:
        return
    for key, value in document.items():
        yield before + key
        yield from _paths(value, f"{before}{key}.", depth + 1)
