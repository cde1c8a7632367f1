"""What is done to a whole collection while it serves, as handlers and embedders ask for it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from actors import Address
from kissvdb.core.store.options import EFFORTS, Rung
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.asking import answered, submit
from kissvdb.engine.threads import Threads
from kissvdb.engine.vectors.collection import Tune
from kissvdb.engine.vectors.copying import text_missing, textless
from kissvdb.engine.vectors.memory import VectorMemory
from kissvdb.engine.vectors.registry import Collections, OpenCollection
from kissvdb.engine.vectors.reindex import BeginReindex, EndReindex, Reindex
from kissvdb.engine.vectors.texts import Texts
from kissvdb.engine.vectors.tuning import Measured, Tuner, Wanted
from kissvdb.errors import AlreadyExists, Damaged

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView
    from kissvdb.engine.rows.footprint import Footprint

T = TypeVar("T")


class IndexJobs(Protocol):
    """A base of `model.Vectors`, which has what has no body here."""

    texts: Texts
    _collections: Collections
    _registry: Address
    _threads: Threads
    _memory: VectorMemory
    _clock_ms: Callable[[], int]
    _tuned: set[str]
    """What is being measured."""

    def find(self, collection: str) -> OpenCollection:
        """A collection. Raises NotFound and Damaged."""
        ...

    async def look(self, collection: str, job: "Callable[[RowsView], T]") -> T:
        """``job(view)`` in one of the search threads."""
        ...

    def _check_new(self, collection: str, dim: int) -> None: ...

    async def memory(self, collection: str) -> "Footprint":
        """What a collection takes of memory and disk now. Raises NotFound and Damaged."""
        return await self._memory.measured(self.find(collection), self._threads)

    async def reindex(
        self,
        collection: str,
        embedder: str | None = None,
        shape: Callable[[CollectionSpec], CollectionSpec] | None = None,
    ) -> Reindex:
        """Begin to give a collection another index or another embedder, while it serves as it is;
        answers what `reindex_of` answers until that is done.

        ``shape``: what is to become of its spec; index, m, ef_construction, quantization, options.
        ``embedder``: all vectors are made anew of their texts.

        Raises NotFound for the collection or the embedder, MemoryExceeded, TextMissing,
        AlreadyExists while one is under way, what ``shape`` raises, and Damaged.
        """
        found = self.find(collection)
        if found.upkeep.damage is not None:
            raise Damaged(found.upkeep.damage)
        model = None
        if embedder is not None:
            model = self.texts.model_of(embedder, None, None)
            self._check_new(collection, model.dim)
            count = await self.look(collection, textless)
            if count:
                raise text_missing(collection, count)
        message = BeginReindex(collection, shape or _as_it_is, model)
        self._memory.check_reindex(found.actor.rows, message.spec_after(found.spec))
        job: Reindex = await answered(submit(self._registry, message))
        return job

    def reindex_of(self, collection: str) -> Reindex | None:
        """What is being done to a collection, or has failed; None: nothing."""
        return self._collections.reindexing.jobs.get(collection)

    def reindex_progress(self, collection: str) -> tuple[int, int]:
        """How many vectors are made, and of how many."""
        return self._collections.reindexing.progress(collection)

    async def end_reindex(self, collection: str) -> int | None:
        """Give up what was begun: the collection stays as it is. None if there was nothing."""
        self.find(collection)
        offset: int | None = await answered(submit(self._registry, EndReindex(collection)))
        return offset

    async def tune(
        self, collection: str, wanted: Wanted
    ) -> tuple[Measured, Rung | None, int | None]:
        """Measure how hard searches have to try to find ``wanted.recall`` of what is nearest, and
        have them do so from then on.

        Answers what was measured, what was chosen (None: nothing finds so much, and all stays), and
        the offset of that. Raises NotFound, AlreadyExists while it is measured or reindexed,
        InvalidArgument for a collection without vectors, and Damaged.
        """
        found = self.find(collection)
        self._collections.reindexing.check_none(collection)
        if collection in self._tuned:
            raise AlreadyExists(f"collection {collection!r} is being tuned: wait for that")
        before = found.spec.shape
        tuner = Tuner(found.actor.view(), found.audit.recent, wanted)
        self._tuned.add(collection)
        try:
            measured = await self._threads.upkeep.run(
                tuner.measure, self._clock_ms(), abandon_on_cancel=True
            )
        finally:
            tuner.stop()
            self._tuned.discard(collection)
        rung = measured.tuning.effort_for(wanted.recall)
        if rung is None:
            return measured, None, None
        self._collections.reindexing.check_none(collection)
        found = self.find(collection)
        if found.spec.shape != before:
            raise AlreadyExists(f"collection {collection!r} got another index meanwhile: again")
        chosen: dict[str, Any] = {EFFORTS[found.spec.index]: rung.effort}
        options = attrs.evolve(found.spec.options, **chosen)
        message = Tune(options, measured.tuning)
        offset: int = await answered(submit(found.address, message))
        return measured, rung, offset


def _as_it_is(spec: CollectionSpec) -> CollectionSpec:
    return spec
