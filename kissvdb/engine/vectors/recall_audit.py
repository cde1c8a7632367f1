"""Auditing recall: what recent searches found, against what exact search finds."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from actors import ActorCrashed, Address, MailboxClosed, Workers
from kissvdb import config, logs
from kissvdb.core.search import Search
from kissvdb.engine.vectors.collection import Collection, Refine
from kissvdb.errors import NotFound

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

logger = logging.getLogger("kissvdb.collections")


@attrs.frozen
class Sample:
    """A search that was done, and its vector (float32)."""

    vector: bytes
    search: Search


class RecallAudit:
    """The latest searches of one collection, and the recall of the last audit of them."""

    def __init__(self, queries_max: int) -> None:
        self.recall: float | None = None
        """Between 0 and 1, of the code that is in use; None before it was measured."""
        self._samples: deque[Sample] = deque(maxlen=queries_max)

    def note(self, vector: bytes, search: Search) -> None:
        """Remember a search; the oldest is forgotten. ``vector``: float32."""
        self._samples.append(Sample(vector, search))

    @property
    def recent(self) -> list[Sample]:
        """The searches since the last audit, which stay."""
        return list(self._samples)

    def take(self) -> list[Sample]:
        """The searches since the last audit."""
        taken = list(self._samples)
        self._samples.clear()
        return taken


def recall(view: "RowsView", samples: list[Sample]) -> float:
    """The part of the true nearest that these searches find today, 0 to 1; for a thread."""
    import numpy as np

    found = 0.0
    for sample in samples:
        query = np.frombuffer(sample.vector, "<f4")[None]
        found += view.audit(query, sample.search)
    return found / len(samples)


async def keep_audited(
    audited: "Callable[[], Iterable[tuple[Collection, Address, RecallAudit]]]",
    workers: Workers,
    settings: config.Search,
) -> None:
    """The task that audits every collection that was searched since the last time.

    One that finds too little is searched by a finer code from then on, if it may be.
    """
    while settings.audit_interval_secs:
        await trio.sleep(settings.audit_interval_secs)
        for collection, address, audit in list(audited()):
            samples = audit.take()
            view = collection.view()
            if not samples or not view.indexed_rows:
                continue
            measured = partial(recall, view, samples)
            audit.recall = await workers.run(measured, abandon_on_cancel=True)
            if audit.recall * 100 < settings.recall_percent_min:
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
                if finer is not None:
                    audit.recall = None
                    measured = partial(recall, collection.view(), samples)
                    audit.recall = await workers.run(measured, abandon_on_cancel=True)
