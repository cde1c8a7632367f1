"""Auditing recall: what recent searches found, against what exact search finds."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from actors import Workers
from kissvdb import logs
from kissvdb.config import Search
from kissvdb.engine.collection import Collection

if TYPE_CHECKING:
    from kissvdb.core.row_view import RowsView

logger = logging.getLogger("kissvdb.collections")


@attrs.frozen
class Sampled:
    """A search that was done. ``vector`` is little-endian float32."""

    vector: bytes
    k: int
    ef: int | None


class RecallAudit:
    """The latest searches of one collection, and the recall of the last audit of them."""

    def __init__(self, queries_max: int) -> None:
        self.recall: float | None = None
        """Between 0 and 1; None before the first audit."""
        self._samples: deque[Sampled] = deque(maxlen=queries_max)

    def note(self, vector: bytes, k: int, ef: int | None) -> None:
        """Remember a search; the oldest is forgotten."""
        self._samples.append(Sampled(vector, k, ef))

    def take(self) -> list[Sampled]:
        """The searches since the last audit."""
        taken = list(self._samples)
        self._samples.clear()
        return taken


def recall(view: "RowsView", samples: list[Sampled]) -> float:
    """The part of the true nearest that the searches find today; for a thread.

    A hit counts when it scores no less than the last of the true ones, so ties are no error.
    """
    import numpy as np

    found, wanted = 0, 0
    for sample in samples:
        query = np.frombuffer(sample.vector, "<f4")[None]
        true = view.search(query, sample.k, exact=True).hits[0].scores
        got = view.search(query, sample.k, ef=sample.ef).hits[0].scores
        if len(true):
            found += int((got >= true[-1]).sum())
            wanted += len(true)
    return found / wanted if wanted else 1.0


async def keep_audited(
    audited: "Callable[[], Iterable[tuple[Collection, RecallAudit]]]",
    workers: Workers,
    config: Search,
) -> None:
    """The task that audits every collection that was searched since the last time."""
    while config.audit_interval_secs:
        await trio.sleep(config.audit_interval_secs)
        for collection, audit in list(audited()):
            samples = audit.take()
            view = collection.view()
            if not samples or not view.indexed_rows:
                continue
            audit.recall = await workers.run(partial(recall, view, samples), abandon_on_cancel=True)
            if audit.recall * 100 < config.recall_percent_min:
                logs.event(
                    logger,
                    logging.WARNING,
                    "recall is lower than search.recall_percent_min",
                    collection=collection.rows.spec.name,
                    recall=round(audit.recall, 4),
                    searches=len(samples),
                )
