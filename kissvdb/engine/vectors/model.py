"""Vector collections as handlers and embedders call them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import msgspec
import trio

from actors import ActorCrashed, Address, MailboxClosed
from kissvdb.config import Config, Limits
from kissvdb.core.filters.parse import Node, parse
from kissvdb.core.rows.rules import Answer as VectorAnswer
from kissvdb.core.rows.rules import Command, Delete, DeletedVector, Update, Upsert, WrittenVector
from kissvdb.core.search import Search
from kissvdb.core.state import reserved_keys
from kissvdb.core.state.rules import Item
from kissvdb.core.store.columns import UpsertMany, WrittenMany
from kissvdb.core.store.spec import NUMBER_MAX, CollectionSpec, is_shadow
from kissvdb.embedders.registry import Embedders
from kissvdb.engine.asking import answered, submit, unavailable
from kissvdb.engine.model import Retain
from kissvdb.engine.rows.pace import WAIT_SECONDS, keep_pace
from kissvdb.engine.rows.upkeep import CollectionUpkeep
from kissvdb.engine.vectors.collection import (
    CollectionContext,
    DeleteMatching,
    ReplaceMatching,
    VectorCommand,
    no_such_collection,
)
from kissvdb.engine.vectors.collection_store import CollectionStore
from kissvdb.engine.vectors.jobs import IndexJobs
from kissvdb.engine.vectors.registry import (
    Collections,
    CreateCollection,
    DropCollection,
    ListCollections,
    OpenCollection,
)
from kissvdb.engine.vectors.texts import Texts
from kissvdb.errors import Damaged, DimMismatch, InvalidArgument, KissError
from kissvdb.storage.backup import Entry

if TYPE_CHECKING:
    from kissvdb.core.rows.search import Hits
    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.store.spec import StoredRow

T = TypeVar("T")

DELETED_AT_ONCE_MAX = 4096
"""A delete by filter does so many at a time, so that other writes come between."""


def check_name(collection: str, limits: Limits) -> None:
    """Raises InvalidArgument for a name no collection can have: it also names a directory."""
    if not reserved_keys.is_name(collection) or len(collection) > limits.collection_bytes_max:
        raise InvalidArgument(
            f"collection: must have 1 to {limits.collection_bytes_max} of the characters "
            "A-Z a-z 0-9 . _ - and not begin with a dot; the most is limits.collection_bytes_max "
            "(MAX_COLLECTION_LEN)"
        )


@attrs.frozen
class Found:
    """A hit: higher ``score`` is nearer. ``meta`` is decoded JSON, ``text`` None for none."""

    id: str
    score: float
    meta: Any
    text: str | None = None


class Vectors(IndexJobs):
    """The collections of a database. Made with it; reached as ``database.vectors``.

    Writes answer when they are durable and visible to every later search.
    """

    commands = (VectorCommand,)

    def __init__(
        self,
        collections: Collections,
        registry: Address,
        store: CollectionStore,
        around: CollectionContext,
        config: Config,
        embedders: Embedders,
    ) -> None:
        """``collections`` and ``registry``: the actor that creates and deletes them, and where to
        ask it. ``store``: their files. ``embedders``: what makes vectors of texts."""
        self.broken: Mapping[str, str] = store.broken
        """What is wrong with the collections that cannot be opened, by name."""
        self.compiled = store.kernels.compiled
        """The kernels are loaded, or will not be: until then every search is exact."""
        self.texts = Texts(embedders, self.find)
        """What makes vectors of texts, on their way into a collection and in searches."""
        self._collections = collections
        self._opened = collections.opened
        self._registry = registry
        self._store = store
        self._threads = around.threads
        self._memory = around.memory
        self._limits = config.limits
        self._tail_bytes_max = config.search.tail_bytes_max
        self._clock_ms = around.clock_ms
        self._tuned: set[str] = set()

    # As `model.Model`

    def route(self, command: VectorCommand) -> tuple[Address, Command]:
        return self.find(command.collection).address, command.command

    async def settle(self) -> None:
        """One that is being created is empty."""

    def targets(self) -> list[CollectionUpkeep]:
        return [each.upkeep for each in list(self._opened.values())]

    @property
    def durable_offset(self) -> int | None:
        # Also of what is not opened yet, or was dropped and has files left.
        return min(self._store.durable_offsets, default=None)

    async def note_files(self, entries: list[Entry]) -> None:
        # Half of what was before, and half of what is after, would be neither.
        async with self._collections.reindexing.still:
            for each in await self.settled():
                entries += await each.upkeep.files()
            entries += await self._threads.upkeep.run(self._store.broken_entries)

    async def look_after(self, retain: Retain) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._collections.look_after)
            tasks.start_soon(self._memory.run, self._threads)

    # Collections

    @property
    def applied_offset(self) -> int:
        """Up to here reads see everything."""
        offsets = [each.actor.true_offset for each in self._opened.values()]
        return min([self._collections.true_offset, *offsets])

    @property
    def all(self) -> list[OpenCollection]:
        """All collections, by name; not those that take the place of another some day."""
        return [self._opened[name] for name in sorted(self._opened) if not is_shadow(name)]

    async def settled(self) -> list[OpenCollection]:
        """All collections, with none half created: behind every creation the log holds by now.

        Raises Overloaded and Stopping.
        """
        found: list[OpenCollection] = await answered(submit(self._registry, ListCollections()))
        return found

    def find(self, collection: str) -> OpenCollection:
        """A collection. Raises NotFound, and Damaged when it cannot be opened."""
        found = None if is_shadow(collection) else self._opened.get(collection)
        if found is None:
            if collection in self.broken:
                raise Damaged(self.broken[collection])
            raise no_such_collection(collection)
        return found

    def manifest(self, key: str) -> Item | None:
        """The key that shows a collection; None if there is no such collection."""
        name = reserved_keys.collection_of(key) or ""
        found = None if is_shadow(name) else self._opened.get(name)
        return None if found is None else found.manifest()

    def manifests(self) -> list[Item]:
        """The keys that show the collections."""
        return [each.manifest() for each in self.all]

    async def create(
        self,
        collection: str,
        *,
        dim: int | None = None,
        metric: str | None = None,
        embedder: str | None = None,
        **options: Any,
    ) -> int:
        """Create a collection; answers the offset. ``options``: see CollectionSpec.

        ``dim`` and ``metric`` (cosine without one) are those of the ``embedder``, if there is one.
        Raises AlreadyExists, NotFound for an embedder that is not configured, and InvalidArgument
        for a name or a dim that cannot be, or that the embedder does not make.
        """
        if embedder is not None:
            await self.texts.load()
            model = self.texts.model_of(embedder, dim, metric)
            dim, metric = model.dim, model.metric
            options |= {"embedder": embedder, "embedder_model": model.model}
        if dim is None:
            raise InvalidArgument("dim: missing: give the length of the vectors, or an embedder")
        self._check_new(collection, dim)
        now_ms = self._clock_ms()
        spec = CollectionSpec(collection, dim, metric or "cosine", created_at_ms=now_ms, **options)
        if collection not in self._opened:
            self._memory.check_new(spec)
        offset: int = await answered(submit(self._registry, CreateCollection(spec)))
        return offset

    def _check_new(self, collection: str, dim: int) -> None:
        check_name(collection, self._limits)
        if not 1 <= dim <= self._limits.vector_dim_max:
            raise InvalidArgument(
                f"dim: must be 1 to {self._limits.vector_dim_max}, not {dim}: the most is "
                "limits.vector_dim_max (MAX_VECTOR_DIM)"
            )

    async def drop(self, collection: str) -> int:
        """Delete a collection and everything in it; answers the offset. Raises NotFound."""
        if is_shadow(collection):
            raise no_such_collection(collection)
        offset: int = await answered(submit(self._registry, DropCollection(collection)))
        return offset

    async def vacuum(self, collection: str) -> int:
        """Write the live vectors anew; answers how many dead ones went. Raises NotFound."""
        found = self.find(collection)
        before = found.actor.view().data.count
        try:
            await found.upkeep.vacuum()
        except (MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error
        return max(0, before - found.actor.view().data.count)

    # Writes

    def owner(self, collection: str) -> Address:
        """Who decides about a collection's vectors. Raises NotFound."""
        return self.find(collection).address

    async def write(self, collection: str, command: Command) -> VectorAnswer:
        """Do one write; a text without a vector is embedded first.

        Raises Refused kinds, Overloaded, Stopping, PersistenceFailed and EmbedderUnavailable.
        """
        whole = VectorCommand(collection, command)
        if self.texts.concerns(whole):
            (whole,) = await self.texts.prepared([whole])
            if isinstance(whole, KissError):
                raise whole
            command = whole.command
        answer: VectorAnswer = await answered(submit(self.owner(collection), command))
        return answer

    async def keep_pace(self, collections: Iterable[str]) -> None:
        """Return when these (those that are none do not count) have room in their tails for more
        vectors. Raises Overloaded: see `pace.keep_pace`."""
        deadline = trio.current_time() + WAIT_SECONDS
        for name in collections:
            found = self._opened.get(name)
            if found is not None:
                await keep_pace(found.actor.rows, found.upkeep, self._tail_bytes_max, deadline)

    async def upsert_many(
        self, collection: str, many: UpsertMany
    ) -> WrittenMany | list[VectorAnswer | KissError]:
        """Write vectors, each for itself; a list where not all were plainly written. Raises as
        `write`, for all of them."""
        found = await answered(submit(self.owner(collection), many))
        return cast("WrittenMany | list[VectorAnswer | KissError]", found)

    async def upsert(
        self,
        collection: str,
        id_: str,
        vector: Sequence[float] | None = None,
        meta: Any = None,
        *,
        text: str | None = None,
        ttl_ms: int | None = None,
    ) -> WrittenVector:
        """Write a vector whether or not its id has one. ``meta``: what JSON can hold. Without a
        ``vector`` it is made of the ``text``."""
        if vector is None and not text:
            raise InvalidArgument("vector: give a vector, or a text that it is made of")
        stored = None if meta is None else msgspec.json.encode(meta)
        numbers = b"" if vector is None else _packed(vector)
        upsert = Upsert(id_, numbers, stored, ttl_ms, text=text or None)
        answer = await self.write(collection, upsert)
        assert isinstance(answer, WrittenVector)
        return answer

    async def update(
        self,
        collection: str,
        id_: str,
        *,
        vector: Sequence[float] | None = None,
        meta: Any = None,
        text: str | None = None,
    ) -> WrittenVector:
        """Replace the parts that are given; an empty text takes it away. Raises NotFound."""
        stored = None if meta is None else msgspec.json.encode(meta)
        numbers = None if vector is None else _packed(vector)
        answer = await self.write(collection, Update(id_, numbers, stored, text=text))
        assert isinstance(answer, WrittenVector)
        return answer

    async def delete(self, collection: str, id_: str) -> DeletedVector:
        """Remove a vector. Raises NotFound."""
        answer = await self.write(collection, Delete(id_))
        assert isinstance(answer, DeletedVector)
        return answer

    async def delete_matching(
        self, collection: str, tree: Node | None, namespace: str | None = None
    ) -> tuple[int, int | None]:
        """Remove the vectors that pass; answers how many, and the offset of the last deletion.

        Not atomic: other writes come between. What passes when it is looked at is deleted.
        """
        message = DeleteMatching(tree, namespace, DELETED_AT_ONCE_MAX)
        total, last = 0, None
        while True:
            count, offset = await answered(submit(self.owner(collection), message))
            total += count
            last = last if offset is None else offset
            if count < DELETED_AT_ONCE_MAX:
                return total, last

    async def replace(self, collection: str, message: ReplaceMatching) -> int:
        """Write vectors in the place of those that pass a filter, all or nothing."""
        offset: int = await answered(submit(self.owner(collection), message))
        return offset

    # Reads

    def get(self, collection: str, id_: str) -> "StoredRow | None":
        """A vector as of the last answered write; None when absent or expired. Never waits."""
        return self.find(collection).actor.view().get(id_)

    async def look(self, collection: str, job: "Callable[[RowsView], T]") -> T:
        """``job(view)`` in one of the search threads, with all that was answered until now.

        A caller that is cancelled leaves at once; the thread finishes alone.
        """
        view = self.find(collection).actor.view()
        if not view.kernels.ready:
            await self._store.kernels.wait_if_soon(view.data.count * view.spec.dim)
            view = self.find(collection).actor.view()
        return await self._threads.search(job, view)

    async def search(
        self,
        collection: str,
        vector: Sequence[float],
        k: int = 10,
        *,
        filters: Any = None,
        namespace: str | None = None,
        **options: Any,
    ) -> list[Found]:
        """The ``k`` nearest vectors that pass. ``options``: see `core.search.Search`."""
        search = Search(k, tree=parse(filters), namespace=namespace, **options)
        query = _packed(vector)
        spec = self.find(collection).actor.rows.spec
        if len(query) != spec.vector_bytes:
            raise DimMismatch(
                f"vector has {len(vector)} numbers, {collection!r} has dim {spec.dim}"
            )

        def job(view: "RowsView") -> list[Found]:
            import numpy as np

            queries = np.frombuffer(query, "<f4")[None]
            return found_in(view, view.search(queries, search).hits[0])

        return await self.look(collection, job)


def found_in(view: "RowsView", hits: "Hits") -> list[Found]:
    """Hits with what is stored of them."""
    data, rows = view.data, hits.rows.tolist()
    return [
        Found(id_, score, data.document(row), data.text(row))
        for id_, score, row in zip(hits.ids, hits.scores.tolist(), rows, strict=True)
    ]


def _packed(vector: Sequence[float]) -> bytes:
    import numpy as np

    with np.errstate(over="ignore"):
        numbers = np.asarray(vector, "<f4")
    if numbers.size and not np.abs(numbers).max() <= NUMBER_MAX:
        raise InvalidArgument(f"vector: holds NaN, infinity or a number beyond {NUMBER_MAX:g}")
    return numbers.tobytes()
