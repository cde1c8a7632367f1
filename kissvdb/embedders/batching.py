"""An embedder over a source: what is asked for becomes batches, and nothing is made twice."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import trio

from kissvdb import config
from kissvdb.embedders.cache import VectorCache, key_of
from kissvdb.embedders.embedder import Kind, Source
from kissvdb.errors import EmbedderUnavailable, InvalidArgument, KissError, Overloaded, Stopping
from kissvdb.kernels.arrays import Array

logger = logging.getLogger("kissvdb.embedders")

SLICE_TEXTS = 256
"""A long request is queued in pieces of so many: others come between."""
TEXT_CHARS_MAX = 32_768
"""Of a longer text only the beginning is looked at: no model here reads further."""


@attrs.define(eq=False)
class _Slice:
    """Some texts of one request, and what is known of them."""

    kind: Kind
    texts: list[str]
    vectors: list[bytes | None]
    open: int
    done: trio.Event
    failure: KissError | None = None

    @property
    def wanted(self) -> bool:
        return self.failure is None and not self.done.is_set()

    def answer(self, place: int, vector: bytes) -> None:
        self.vectors[place] = vector
        self.open -= 1
        if not self.open:
            self.done.set()

    def fail(self, failure: KissError) -> None:
        self.failure = failure
        self.done.set()


@attrs.frozen
class EmbedderStatistics:
    """An embedder at one moment."""

    waiting: int
    """Texts that are queued."""
    embedded: int
    """Texts that the source has answered since the start."""
    cached: int
    """Vectors in the cache."""
    hits: int
    """Texts that the cache has answered since the start."""


class BatchedEmbedder:
    """Embedder over a `Source`. `run` must run for as long as it is asked.

    Queries go before passages: a search does not wait for an import. Of what waits, texts of like
    length share a batch, since a batch costs what its longest text does.
    """

    metric = "cosine"

    def __init__(self, name: str, settings: config.Embedder, source: Source) -> None:
        self.name = name
        self._settings = settings
        self._source = source
        self._cache = VectorCache(settings.cache_bytes_max)
        self._queues: dict[Kind, deque[tuple[_Slice, int]]] = {"query": deque(), "passage": deque()}
        self._idle = trio.lowlevel.ParkingLot()
        self._crowd = trio.lowlevel.ParkingLot()
        self._embedded = 0
        self._failure: str | None = None
        self._stopped = False

    @property
    def model(self) -> str:
        return self._source.model

    @property
    def dim(self) -> int:
        return self._source.dim

    def statistics(self) -> EmbedderStatistics:
        """What it has done, and has to do."""
        return EmbedderStatistics(self._waiting, self._embedded, len(self._cache), self._cache.hits)

    def problem(self) -> str | None:
        """Why it cannot answer: what is missing, or how the last batch failed. None: nothing."""
        try:
            self._source.require()
        except EmbedderUnavailable as refusal:
            return refusal.message
        return self._failure

    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Array:
        """See Embedder. A request of more texts than may wait is taken piece by piece."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        if not texts:
            await trio.lowlevel.checkpoint()
        for start in range(0, len(texts), SLICE_TEXTS):
            part = [text[:TEXT_CHARS_MAX] for text in texts[start : start + SLICE_TEXTS]]
            found = await self._embed_slice(part, kind, first=start == 0)
            vectors[start : start + len(part)] = found
        return vectors

    async def _embed_slice(self, texts: list[str], kind: Kind, first: bool) -> Array:
        places: dict[bytes, list[int]] = {}
        for place, text in enumerate(texts):
            try:
                places.setdefault(key_of(self.model, kind, text.encode()), []).append(place)
            except UnicodeEncodeError:
                raise InvalidArgument("a text has a lone surrogate: it is no Unicode") from None
        keys = list(places)
        known = {key: self._cache.get(key) for key in keys}
        missing = [key for key in keys if known[key] is None]
        if missing:
            if not self._embedded:
                self._source.require()
            wanted = [texts[places[key][0]] for key in missing]
            made = await self._ask(wanted, kind, first)
            known |= zip(missing, made, strict=True)
            for key, vector in zip(missing, made, strict=True):
                self._cache.put(key, vector)
        vectors = np.empty((len(texts), self.dim), np.float32)
        for key, found in known.items():
            assert found is not None
            vectors[places[key]] = np.frombuffer(found, np.float32)
        await trio.lowlevel.checkpoint()
        return vectors

    async def _ask(self, texts: list[str], kind: Kind, first: bool) -> list[bytes]:
        await self._make_room(len(texts), first)
        if self._stopped:
            raise self._stopping()
        asked = _Slice(kind, texts, [None] * len(texts), len(texts), trio.Event())
        places = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        self._queues[kind].extend((asked, place) for place in places)
        self._idle.unpark_all()
        try:
            await asked.done.wait()
        finally:
            # Nobody waits for the rest of it any more.
            asked.done.set()
        if asked.failure is not None:
            # An exception is one task's: others wait for the same batch.
            raise type(asked.failure)(asked.failure.message) from asked.failure
        return [vector for vector in asked.vectors if vector is not None]

    async def _make_room(self, texts: int, first: bool) -> None:
        texts_max = self._settings.queue_texts_max
        while self._waiting and self._waiting + texts > texts_max:
            if first:
                raise Overloaded(
                    f"{self._waiting} texts wait for the embedder {self.name}; send fewer at once, "
                    "or raise queue_texts_max in its section of the configuration"
                )
            await self._crowd.park()

    @property
    def _waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    async def run(self) -> None:
        """Ask the source for what waits, until cancelled."""
        try:
            async with trio.open_nursery() as requests:
                for _ in range(self._settings.requests_max):
                    requests.start_soon(self._serve)
        finally:
            self._stopped = True
            for queue in self._queues.values():
                for asked, _ in queue:
                    asked.fail(self._stopping())
                queue.clear()
            self._crowd.unpark_all()
            with trio.CancelScope(shield=True):
                await self._source.aclose()

    def _stopping(self) -> Stopping:
        return Stopping("the server is shutting down")

    async def _serve(self) -> None:
        while True:
            kind, batch = self._next_batch()
            if not batch:
                await self._idle.park()
                continue
            try:
                await self._embed_batch(kind, batch)
            except KissError as failure:
                self._failure = failure.message
                for asked, _ in batch:
                    asked.fail(failure)
            except trio.Cancelled:
                for asked, _ in batch:
                    asked.fail(self._stopping())
                raise
            except Exception as error:
                # Not ours: a library's. It is no reason for the database to stop.
                logger.exception("the embedder %s failed", self.name)
                self._failure = f"the embedder {self.name} failed: {type(error).__name__}"
                for asked, _ in batch:
                    asked.fail(EmbedderUnavailable(self._failure))

    async def _embed_batch(self, kind: Kind, batch: list[tuple[_Slice, int]]) -> None:
        texts = [asked.texts[place] for asked, place in batch]
        seconds = self._settings.timeout_secs
        with trio.move_on_after(seconds) as scope:
            found = await self._source.vectors(texts, kind)
        if scope.cancelled_caught:
            await self._source.aclose()
            raise EmbedderUnavailable(
                f"the embedder {self.name} took more than {seconds} s for {len(texts)} texts "
                "(timeout_secs in its section of the configuration)"
            )
        found = self._checked(found, len(texts))
        self._embedded += len(texts)
        self._failure = None
        for (asked, place), vector in zip(batch, found, strict=True):
            if asked.wanted:
                asked.answer(place, vector.tobytes())

    def _checked(self, found: Array, count: int) -> Array:
        """Unit length, float32. Raises EmbedderUnavailable for what are no vectors of texts."""
        if found.shape != (count, self.dim):
            raise EmbedderUnavailable(
                f"the embedder {self.name} answered {found.shape} numbers where "
                f"{(count, self.dim)} were asked for"
            )
        lengths = np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(lengths).all():
            raise EmbedderUnavailable(f"the embedder {self.name} answered numbers that are none")
        # A text of nothing at all may have no direction; it is like no other.
        vectors: Array = (found / np.where(lengths == 0, 1, lengths)).astype(np.float32)
        return vectors

    def _next_batch(self) -> tuple[Kind, list[tuple[_Slice, int]]]:
        """Queries first; at most batch_texts texts of batch_chars_max characters."""
        for kind, queue in self._queues.items():
            batch = list(self._take(queue))
            self._crowd.unpark_all()
            if batch:
                return kind, batch
        return "query", []

    def _take(self, queue: deque[tuple[_Slice, int]]) -> Iterator[tuple[_Slice, int]]:
        taken, size = 0, 0
        while queue and taken < self._settings.batch_texts:
            asked, place = queue[0]
            size += len(asked.texts[place])
            if taken and size > self._settings.batch_chars_max:
                return
            queue.popleft()
            if asked.wanted:
                taken += 1
                yield asked, place
