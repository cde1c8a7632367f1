"""Auditing recall: what recent searches found, against what exact search finds."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import trio

from actors import ActorCrashed, Address, MailboxClosed, Workers
from kissvdb import logs
from kissvdb.config import Search
from kissvdb.engine.collection import Collection, Refine
from kissvdb.errors import NotFound

if TYPE_CHECKING:
    from kissvdb.core.row_view import RowsView

logger = logging.getLogger("kissvdb.collections")


class RecallAudit:
    """The latest searches of one collection, and the recall of the last audit of them."""

    def __init__(self, queries_max: int) -> None:
        self.recall: float | None = None
        """Between 0 and 1; None before the first audit."""
        self._samples: deque[tuple[int, bytes]] = deque(maxlen=queries_max)

    def note(self, k: int, vector: bytes) -> None:
        """Remember a search without filters; the oldest is forgotten. ``vector``: float32."""
        self._samples.append((k, vector))

    def take(self) -> list[tuple[int, bytes]]:
        """The searches (k, vector) since the last audit."""
        taken = list(self._samples)
        self._samples.clear()
        return taken


def recall(view: "RowsView", samples: list[tuple[int, bytes]]) -> float:
    """The part of the true nearest that these searches find today, 0 to 1; for a thread."""
    import numpy as np

    found = 0.0
    by_k: dict[int, list[bytes]] = {}
    for k, vector in samples:
        by_k.setdefault(k, []).append(vector)
    for k, vectors in by_k.items():
        queries = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)
        found += view.audit(queries, k) * len(vectors)
    return found / len(samples)


async def keep_audited(
    audited: "Callable[[], Iterable[tuple[Collection, Address, RecallAudit]]]",
    workers: Workers,
    config: Search,
) -> None:
    """The task that audits every collection that was searched since the last time.

    One that finds too little is searched by a finer code from then on, if it may be.
    """
    while config.audit_interval_secs:
        await trio.sleep(config.audit_interval_secs)
        for collection, address, audit in list(audited()):
            samples = audit.take()
            view = collection.view()
            if not samples or not view.indexed_rows:
                continue
            audit.recall = await workers.run(partial(recall, view, samples), abandon_on_cancel=True)
            if audit.recall * 100 < config.recall_percent_min:
                try:
                    finer = await address.ask(Refine())
                except (NotFound, MailboxClosed, ActorCrashed):
                    continue
                logs.event(
                    logger,
                    logging.WARNING,
                    "recall is lower than search.recall_percent_min",
                    collection=collection.rows.spec.name,
                    recall=round(audit.recall, 4),
                    now_searched_by=finer or "the same code",
                )
