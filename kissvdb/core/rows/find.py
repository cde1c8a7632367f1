"""Finding documents: the rows that pass a filter, in an order, page by page.

The order is told by columns: of each segment those rows are taken that can be among the first, by
their codes and without a look at documents, and only these are compared by their values. A page
begins behind the place that the page before ended with, wherever rows have moved meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.filters.tree import lookup
from kissvdb.core.find import Find, Place, SortKey
from kissvdb.core.metadata import facets as row_facets
from kissvdb.core.metadata.columns import UNTOLD
from kissvdb.core.metadata.facets import Facet
from kissvdb.core.metadata.index import DocumentAt
from kissvdb.core.metadata.segment import Segment
from kissvdb.core.metadata.sorting import (
    UNSURE,
    Numbers,
    Ranks,
    is_behind,
    ordered,
    sort_value,
)
from kissvdb.core.rows.search import lap_clock
from kissvdb.core.rows.view import RowsView
from kissvdb.core.store.id_order import behind_id, first_by_id
from kissvdb.core.store.space import RowData

_NONE: Numbers = np.zeros(0, np.int64)


@attrs.frozen
class Explanation:
    """How a find went. ``plan``: ``ids`` or ``columns`` tell the order. ``selectivity``: the part
    of all rows that passes; ``compared`` rows were compared by their values, ``read`` documents
    were read for that. Times are microseconds."""

    plan: str
    selectivity: float
    rows: int
    tail_rows: int
    compared: int
    read: int
    filter_us: int
    order_us: int
    facets_us: int


@attrs.frozen(eq=False)
class Found:
    """``rows`` and their places, in order; whether there are ``more`` behind the last one.
    ``count``: how many pass, whatever the page."""

    rows: list[int]
    places: list[Place]
    more: bool
    count: int | None
    facets: dict[str, Facet]
    explanation: Explanation | None


def find(view: RowsView, asked: Find) -> Found:
    """What is asked, as of the view. Good for any thread. Raises Damaged."""
    return _Finder(view, asked).found()


class _Finder:
    def __init__(self, view: RowsView, asked: Find) -> None:
        self._view = view
        self._asked = asked
        self._data: RowData = view.data
        self._read = 0
        self._compared = 0

    def found(self) -> Found:
        asked, view = self._asked, self._view
        lap: Callable[[], int] = lap_clock() if asked.explain else int
        words = view.bitmap(asked.tree)
        passing = view.data.count if words is None else bitmaps.count(words)
        filter_us = lap()
        places = self._first(self._rows(words), asked.limit + 1)
        more = len(places) > asked.limit
        places = places[: asked.limit]
        order_us = lap()
        facets = facets_of(view, words, asked.facets, self._document)
        facets_us = lap()
        rows = [row for _, row in places]
        self._data.check(rows)
        count = view.data.count
        explanation = Explanation(
            plan="columns" if asked.sort else "ids",
            selectivity=passing / count if count else 0.0,
            rows=count,
            tail_rows=len(view.metadata.tail),
            compared=self._compared,
            read=self._read,
            filter_us=filter_us,
            order_us=order_us,
            facets_us=facets_us,
        )
        return Found(
            rows,
            [place for place, _ in places],
            more,
            passing if asked.count else None,
            facets,
            explanation if asked.explain else None,
        )

    def _rows(self, words: Any) -> Numbers:
        if words is None:
            return np.arange(self._data.count)
        return bitmaps.row_numbers(words).astype(np.int64)

    def _first(self, rows: Numbers, want: int) -> list[tuple[Place, int]]:
        """The first of these rows, in order, each with its place. One more than asked for tells
        whether there are more; with no limit there is nothing to tell."""
        sort, after = self._asked.sort, self._asked.after
        if not self._asked.limit or not len(rows):
            return []
        if sort:
            places = self._candidates(rows, want)
            if after is not None:
                places = [one for one in places if is_behind(one[0], after, sort)]
        else:
            if after is not None:
                rows = behind_id(self._data, rows, after.id)
            chosen = first_by_id(self._data, rows, want).tolist()
            places = [(Place((), self._data.id_at(row)), row) for row in chosen]
        self._compared = len(places)
        return ordered(places, sort)[:want]

    def _candidates(self, rows: Numbers, want: int) -> list[tuple[Place, int]]:
        """Of each segment the rows that may be among the first; all rows of the tail."""
        metadata, sort = self._view.metadata, self._asked.sort
        places: list[tuple[Place, int]] = []
        first = 0
        for segment in metadata.segments:
            last = first + segment.row_count
            low, high = np.searchsorted(rows, (first, last))
            if low < high:
                part = _Part(self._data, segment, first, sort, self._asked.after)
                for row in part.first(rows[low:high] - first, want).tolist():
                    place = Place(self._values(part, row), self._data.id_at(first + row))
                    places.append((place, first + row))
            first = last
        tail = metadata.tail
        for row in rows[np.searchsorted(rows, first) :].tolist():
            document = tail[row - first]
            values = tuple(sort_value(lookup(document, key.path)) for key in sort)
            places.append((Place(values, self._data.id_at(row)), row))
        return places

    def _values(self, part: "_Part", row: int) -> tuple[Any, ...]:
        values = [ranks.value_at(row) for ranks in part.ranks]
        if UNTOLD in values:
            document = self._document(part.first_row + row)
            values = [
                sort_value(lookup(document, key.path)) if value is UNTOLD else value
                for key, value in zip(self._asked.sort, values, strict=True)
            ]
        return tuple(values)

    def _document(self, row: int) -> Any:
        self._read += 1
        return self._data.document(row)


def facets_of(
    view: RowsView, words: Words | None, wishes: Mapping[str, int], document_at: DocumentAt
) -> dict[str, Facet]:
    """The commonest values of fields among the rows of a bitmap, None for all rows."""
    if not wishes:
        return {}
    flags = None if words is None else bitmaps.unpack(words, view.metadata.row_count)
    return {
        path: row_facets.count(view.metadata, flags, path, want, document_at)
        for path, want in wishes.items()
    }


class _Part:
    """The rows of one segment, numbered from 0 as in its columns."""

    def __init__(
        self,
        data: RowData,
        segment: Segment,
        first_row: int,
        sort: Sequence[SortKey],
        after: Place | None,
    ) -> None:
        self.first_row = first_row
        self.ranks = [Ranks(segment, key) for key in sort]
        self._data = data
        self._after = after

    def first(self, rows: Numbers, want: int) -> Numbers:
        """Rows among which are the first ``want`` behind the place, in no order."""
        unsure = _NONE
        if self._after is not None:
            rows, unsure = self._behind(rows, self._after)
        chosen = [unsure]
        for ranks in self.ranks:
            if len(rows) <= want:
                break
            found = ranks.of(rows)
            untold = found == UNSURE
            if untold.any():
                chosen.append(rows[untold])
                rows, found = rows[~untold], found[~untold]
                if len(rows) <= want:
                    break
            last = np.partition(found, want - 1)[want - 1]
            sure = rows[found < last]
            chosen.append(sure)
            want -= len(sure)
            rows = rows[found == last]
            if ranks.is_open(int(rows[0])):
                # Only their documents tell which of these comes first.
                return np.concatenate([*chosen, rows])
        rest = first_by_id(self._data, rows + self.first_row, want) - self.first_row
        return np.concatenate([*chosen, rest])

    def _behind(self, rows: Numbers, after: Place) -> tuple[Numbers, Numbers]:
        """The rows behind a place, and those of which only the document tells."""
        behind: list[npt.NDArray[np.int64]] = []
        unsure: list[npt.NDArray[np.int64]] = []
        for ranks, value in zip(self.ranks, after.values, strict=True):
            found = ranks.of(rows)
            first, last, is_open = ranks.place(value)
            untold = found == UNSURE
            unsure.append(rows[untold])
            behind.append(rows[(found >= last) & ~untold])
            rows = rows[(found >= first) & (found < last) & ~untold]
            if is_open:
                unsure.append(rows)
                rows = _NONE
            if not len(rows):
                break
        tied = behind_id(self._data, rows + self.first_row, after.id) - self.first_row
        return np.concatenate([*behind, tied]), np.concatenate(unsure)
