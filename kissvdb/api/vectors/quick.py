"""Which searches by words, and which finds, are small enough to be done on the event loop.

Some 100 us, half a millisecond at most: the way to a thread and back costs more than most of them.
"""

from typing import TYPE_CHECKING

from kissvdb.core.filters import parse as filters
from kissvdb.core.filters.parse import Node
from kissvdb.core.search import Search
from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.query import TextQuery
from kissvdb.core.text.typos import are_known

if TYPE_CHECKING:
    from kissvdb.core.find import Find
    from kissvdb.core.rows.view import RowsView

HITS_MAX = 64
ANSWER_BYTES_MAX = 64 * 1024
ROWS_MAX = 100_000
"""Where a filter says which rows; of more its bitmap alone takes long."""
FILTER_MAX = 16
FILTER_STEPS_MAX = 1000
POSTINGS_MAX = 400_000
"""Of a query, if every row had all of its words in all fields: in a compiled search, most of which
walks a small part of them, 1 us for 400 at worst."""
LISTS_MAX = 64
FOUND_ROWS_MAX = 1000
"""Rows that a find puts in order."""


def known_words(
    view: "RowsView", query: TextQuery, search: Search, *, with_answers: bool
) -> TextQuery | None:
    """The query as it will be looked for, if that is quick: nothing but words, and no typos to be
    looked up. ``with_answers``: whether hits come with what the rows hold."""
    texts = view.texts
    if texts is None or view.kernels.text is None or view.data.guard is not None:
        return None
    lists = len(query.clauses) * max(len(texts.paths), 1)
    if lists > LISTS_MAX or lists * texts.row_count > POSTINGS_MAX:
        return None
    if any(clause.kind != "word" or clause.occur != "should" for clause in query.clauses):
        return None
    if search.want > HITS_MAX or not _answers_are_small(view, search.want if with_answers else 0):
        return None
    if not _is_quick_filter(view, search.tree, search.namespace, explained=search.explain):
        return None
    if query.typos:
        fields = {path: texts.settings.field(path) for path in texts.paths}
        analyzers = {path: Analyzer(field) for path, field in fields.items() if field is not None}
        if not are_known(query, texts, analyzers):
            return None
    return query.as_typed()


def is_quick_find(view: "RowsView", asked: "Find") -> bool:
    """Whether a find takes no longer than other handlers: few rows, in the order of their ids."""
    from kissvdb.core import bitmaps

    if asked.sort or asked.facets or asked.tree is None or view.data.guard is not None:
        return False
    if not _is_quick_filter(view, asked.tree, None, explained=asked.explain):
        return False
    words = view.bitmap(asked.tree)
    passing = view.data.count if words is None else bitmaps.count(words)
    answered = min(passing, asked.limit)
    if passing > FOUND_ROWS_MAX or answered > HITS_MAX:
        return False
    return _answers_are_small(view, answered)


def _answers_are_small(view: "RowsView", count: int) -> bool:
    return count * view.data.blob_bytes <= ANSWER_BYTES_MAX * view.data.count


def _is_quick_filter(
    view: "RowsView", tree: Node | None, namespace: str | None, *, explained: bool
) -> bool:
    """Whether the metadata index alone knows the rows that pass, and soon."""
    if tree is None and namespace is None:
        return not view.hidden.count or view.data.count <= ROWS_MAX
    if explained or view.data.count > ROWS_MAX or filters.size(tree) > FILTER_MAX:
        return False
    return view.knows_bitmap(tree, namespace, steps_max=FILTER_STEPS_MAX)
