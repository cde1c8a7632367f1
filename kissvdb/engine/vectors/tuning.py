"""Tuning: how hard searches of a collection have to try to find what they are to find.

Measured on its own vectors, against exact search: first those that were searched for lately, then
rows of the collection, which are looked for among the others. For each effort of the index's
ladder: the recall, and the CPU time of a search. For a thread, and bounded in time.
"""

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from kissvdb.core.search import Search
from kissvdb.core.store.options import Rung, Tuning
from kissvdb.engine.vectors.recall_audit import Sample
from kissvdb.errors import InvalidArgument

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.rows.view import RowsView

QUERIES_MIN = 20
"""So many are measured however long it takes."""
SECONDS_MAX = 60.0
"""After that long no further query is searched exactly."""
RECALL_ENOUGH = 0.9995
"""What tries harder than for that is not measured."""


@attrs.frozen
class Wanted:
    """What to measure: the ``k`` nearest of ``queries`` vectors at most, and what is to be found of
    them, ``recall``."""

    recall: float
    k: int
    queries: int


@attrs.frozen
class Measured:
    """What was found: nothing (``ladder`` is empty) where every search is exact.

    ``searches``: how many of the queries were searched for before.
    """

    tuning: Tuning
    searches: int


@attrs.frozen(eq=False)
class _Query:
    """vector: float32 [1, dim]. ``row``: its own, which is not to be found; -1 for none. ``best``:
    the scores of its ``k`` nearest, float32, best first."""

    vector: Any
    row: int
    best: Any


class Tuner:
    """Measures one view; `stop` ends it soon, from any thread."""

    def __init__(self, view: "RowsView", samples: list[Sample], wanted: Wanted) -> None:
        self._view = view
        self._samples = samples
        self._wanted = wanted
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped.set()

    def measure(self, now_ms: int) -> Measured:
        """For a thread. Raises Damaged if a row is, InvalidArgument for a collection of no rows."""
        view, wanted = self._view, self._wanted
        if not view.live_count:
            raise InvalidArgument("there are no vectors to measure with: write some first")
        rungs: list[Rung] = []
        efforts = view.index.effort_ladder(wanted.k) if view.indexed_rows else []
        queries = self._queries() if efforts else []
        for effort in efforts if queries else ():
            rungs.append(self._rung(effort, queries))
            if rungs[-1].recall >= RECALL_ENOUGH or self._stopped.is_set():
                break
        searches = sum(each.row < 0 for each in queries)
        tuning = Tuning(wanted.k, len(queries), view.data.count, now_ms, tuple(rungs))
        return Measured(tuning, searches)

    def _queries(self) -> list[_Query]:
        """What to search for, with what exact search finds."""
        until = time.monotonic() + SECONDS_MAX
        found: list[_Query] = []
        for vector, row in self._vectors():
            late = time.monotonic() > until and len(found) >= QUERIES_MIN
            if late or self._stopped.is_set() or len(found) == self._wanted.queries:
                break
            best = self._found(vector, row, Search(exact=True))
            if len(best):
                found.append(_Query(vector, row, best))
        return found

    def _vectors(self) -> Iterator[tuple[Any, int]]:
        """Vectors float32 [1, dim], and the row of each; the latest searches first."""
        import numpy as np

        from kissvdb.core.projection import sample

        view, most = self._view, self._wanted.queries
        seen = dict.fromkeys(each.vector for each in reversed(self._samples))
        for vector in list(seen)[:most]:
            if len(vector) == view.spec.vector_bytes:
                yield np.frombuffer(vector, "<f4")[None], -1
        rows = sample(view.hidden.living(view.data.count), most)
        # Not the oldest first: the time may end.
        for row in np.random.default_rng(1).permutation(rows).tolist():
            view.data.check((row,))
            yield np.frombuffer(view.data.vector(row), "<f4")[None], row

    def _found(self, vector: Any, row: int, search: Search) -> Any:
        """The scores of the ``k`` best besides the row itself, float32."""
        import msgspec

        k = self._wanted.k
        hits = self._view.search(vector, msgspec.structs.replace(search, k=k + (row >= 0))).hits[0]
        return hits.scores[hits.rows != row][:k]

    def _rung(self, effort: int, queries: list[_Query]) -> Rung:
        import numpy as np

        good = wanted = 0
        micros = []
        search = Search(ef=effort)
        for each in queries:
            began = time.thread_time_ns()
            scores = self._found(each.vector, each.row, search)
            micros.append((time.thread_time_ns() - began) / 1000)
            # Which of several that score the same is found makes no difference.
            good += int((scores >= each.best[-1]).sum())
            wanted += len(each.best)
        return Rung(effort, round(good / wanted, 4), round(float(np.median(micros)), 1))
