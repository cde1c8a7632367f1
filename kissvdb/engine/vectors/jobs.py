"""What is done to a whole collection while it serves, as handlers and embedders ask for it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from actors import Address
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.asking import answered, submit
from kissvdb.engine.vectors.copying import text_missing, textless
from kissvdb.engine.vectors.registry import Collections, OpenCollection
from kissvdb.engine.vectors.reindex import BeginReindex, EndReindex, Reindex
from kissvdb.engine.vectors.texts import Texts
from kissvdb.errors import Damaged

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

T = TypeVar("T")


class IndexJobs:
    """A base of `model.Vectors`, which has all of this."""

    texts: Texts
    _collections: Collections
    _registry: Address

    def find(self, collection: str) -> OpenCollection:
        """A collection. Raises NotFound and Damaged."""
        raise NotImplementedError

    async def look(self, collection: str, job: "Callable[[RowsView], T]") -> T:
        """``job(view)`` in one of the search threads."""
        raise NotImplementedError

    def _check_new(self, collection: str, dim: int) -> None:
        raise NotImplementedError

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

        Raises NotFound for the collection or the embedder, TextMissing, AlreadyExists while one is
        under way, what ``shape`` raises, and Damaged.
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


def _as_it_is(spec: CollectionSpec) -> CollectionSpec:
    return spec
