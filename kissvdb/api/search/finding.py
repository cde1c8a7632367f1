"""The best documents of /search: one hit each, the latest of their versions, by groups.

Rows are found best first. Which of them count is seen only then: more are fetched until there are
enough, or no more. So a search answers ``top_k`` documents whenever so many pass.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.api.search import documents
from kissvdb.core import bitmaps
from kissvdb.core.filters.parse import And, In, Node
from kissvdb.core.rows import groups as row_groups
from kissvdb.core.rows.search import Hits, taken

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

Best = Callable[[Node | None, int], Hits]
"""The best rows that pass a filter, at most so many."""

GROUP = "group_id"
TIME = "processed_at"
MORE = 4
"""So many times as many are fetched when they were not enough."""


class Documents:
    """Finds documents in one view: its closures are asked for ever more rows."""

    def __init__(self, view: "RowsView", best: Best, tree: Node | None, *, latest: bool) -> None:
        """``best``: the search. ``tree``: what all documents have to pass."""
        self._view = view
        self._best = best
        self._tree = tree
        self._latest = latest
        self._newest: dict[Any, Any] = {}
        self._numbers: dict[int, int] = {}

    def find(self, top_k: int, group_by: str | None, group_limit: int) -> Hits:
        """The ``top_k`` best: of each value of ``group_by`` at most ``group_limit``, groups by the
        best of them."""
        if group_by is None:
            return self._distinct(self._tree, top_k)
        field = group_by
        found = row_groups.search_groups(
            self._distinct,
            lambda row: self._value(row, field),
            self._tree,
            top_k,
            group_by,
            group_limit,
        )
        hits = [group.hits for group in found]
        return _joined(hits).slice(0, top_k)

    def _distinct(self, tree: Node | None, want: int) -> Hits:
        """The best row of each of the ``want`` best documents."""
        fetched = want
        while True:
            hits = self._best(tree, fetched)
            places = self._places(hits, want)
            if len(places) >= want or len(hits) < fetched:
                return taken(hits, places)
            # One more than there are shows that there are no more.
            fetched = min(fetched * MORE, max(self._view.data.count + 1, fetched + 1))

    def _places(self, hits: Hits, want: int) -> list[int]:
        seen: set[int] = set()
        places: list[int] = []
        for place, row in enumerate(hits.rows.tolist()):
            number = self._number(row)
            if number in seen:
                continue
            seen.add(number)
            if self._latest and not self._is_latest(row):
                continue
            places.append(place)
            if len(places) == want:
                break
        return places

    def _number(self, row: int) -> int:
        number = self._numbers.get(row)
        if number is None:
            stored = self._view.stored(row)
            meta = None if stored.meta is None else msgspec.json.decode(stored.meta)
            number = self._numbers[row] = documents.number_of(stored, meta)
        return number

    def _is_latest(self, row: int) -> bool:
        group = self._value(row, GROUP)
        if not isinstance(group, int):
            return True
        newest = self._newest.get(group)
        if newest is None:
            inside = In(GROUP, (group,))
            tree = inside if self._tree is None else And((self._tree, inside))
            words = self._view.bitmap(tree)
            assert words is not None, "a filter has a bitmap"
            rows = bitmaps.row_numbers(words).tolist()
            newest = self._newest[group] = max(map(self._time, rows))
        return self._time(row) >= newest

    def _time(self, row: int) -> int:
        """When a document was processed; 0 where it does not say."""
        value = self._value(row, TIME)
        return value if isinstance(value, int) else 0

    def _value(self, row: int, path: str) -> Any:
        return self._view.metadata.value_at(row, path, self._view.data.document)


def _joined(hits: list[Hits]) -> Hits:
    import numpy as np

    if not hits:
        return Hits((), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return Hits(
        tuple(id_ for each in hits for id_ in each.ids),
        np.concatenate([each.scores for each in hits]),
        np.concatenate([each.rows for each in hits]),
    )
