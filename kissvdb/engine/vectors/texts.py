"""Texts on their way into vector collections: the vectors that are made of them.

An embedder takes its time, and nobody else's: commands are sent to their collection only once they
have their vectors, in the order they came in.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import msgspec

from kissvdb.core.rows.rules import Add, Update, Upsert, WrittenVector
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.embedders.embedder import Embedder, Kind
from kissvdb.embedders.registry import Embedders
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.engine.vectors.registry import OpenCollection
from kissvdb.errors import EmbedderMismatch, InvalidArgument, KissError
from kissvdb.telemetry.parts import EMBED, timed_wait

Outcome = Any
"""A command that can be sent, why it cannot, or the answer of one that needs not to be."""


@attrs.frozen
class _Wanted:
    """A command, by its place, that waits for the vector of its text."""

    place: int
    text: str


class Texts:
    """What makes vectors of texts, for the collections of a database."""

    def __init__(self, embedders: Embedders, find: Callable[[str], OpenCollection]) -> None:
        """``find``: a collection by its name. Raises NotFound and Damaged."""
        self._embedders = embedders
        self._find = find

    def model_of(self, name: str, dim: int | None, metric: str | None) -> Embedder:
        """The embedder of this name, for vectors of a new collection. Raises NotFound, and
        InvalidArgument if it does not make those that are asked for."""
        found = self._embedders.find(name)
        if dim not in (None, found.dim):
            raise InvalidArgument(
                f"dim: embedder {name!r} makes vectors of {found.dim} numbers, not {dim}: leave "
                "dim out"
            )
        if metric not in (None, found.metric):
            raise InvalidArgument(
                f"metric: vectors of embedder {name!r} are compared by {found.metric}, not by "
                f"{metric}: leave metric out"
            )
        return found

    async def load(self) -> None:
        """To be awaited before `model_of`."""
        await self._embedders.load()

    async def makes(self, name: str, dim: int) -> bool:
        """Whether there is an embedder of this name, for vectors of so many numbers."""
        await self.load()
        try:
            return self._embedders.find(name).dim == dim
        except KissError:
            return False

    async def vectors(self, spec: CollectionSpec, texts: Sequence[str]) -> list[bytes]:
        """The vectors of texts to be found, little-endian float32. Raises as `query_vector`."""
        return await self._embed(spec, texts, "passage")

    def concerns(self, command: Any) -> bool:
        """Whether a command has to go through `prepared` before it is sent."""
        if not isinstance(command, VectorCommand):
            return False
        inner = command.command
        if command.if_changed:
            return True
        return isinstance(inner, (Add, Upsert, Update)) and bool(inner.text) and not inner.vector

    async def vectors_by(self, name: str, texts: Sequence[str]) -> list[bytes]:
        """The same by an embedder that has no collection yet. Raises NotFound and
        EmbedderUnavailable."""
        await self.load()
        return await _embedded(self._embedders.find(name), texts, "passage")

    async def prepared(self, commands: Sequence[Any]) -> list[Outcome]:
        """The commands with the vectors of their texts, in their order.

        In place of one that cannot be done stands a KissError: NotFound, InvalidArgument without an
        embedder, EmbedderUnavailable, EmbedderMismatch. In place of an upsert that would change
        nothing (``if_changed``) stands its answer. An operation that is done already (``op_id``) is
        not embedded again.
        """
        outcomes: list[Outcome] = list(commands)
        wanted: dict[str, list[_Wanted]] = {}
        for place, text in self._look(outcomes):
            wanted.setdefault(outcomes[place].collection, []).append(_Wanted(place, text))
        for collection, mine in wanted.items():
            try:
                spec = self._find(collection).actor.rows.spec
                vectors = await self._embed(spec, [each.text for each in mine], "passage")
            except KissError as refusal:
                for each in mine:
                    outcomes[each.place] = refusal
                continue
            for each, vector in zip(mine, vectors, strict=True):
                outcomes[each.place] = _with_vector(
                    outcomes[each.place], vector, spec.embedder_model
                )
        return outcomes

    async def query_vector(self, spec: CollectionSpec, text: str) -> bytes:
        """The vector to search with for a text, little-endian float32.

        Raises InvalidArgument for a collection without an embedder, EmbedderUnavailable, NotFound
        and EmbedderMismatch.
        """
        (vector,) = await self.query_vectors(spec, [text])
        return vector

    async def query_vectors(self, spec: CollectionSpec, texts: Sequence[str]) -> list[bytes]:
        """As `query_vector`, for several texts together."""
        return await self._embed(spec, texts, "query")

    def _look(self, outcomes: list[Outcome]) -> Iterator[tuple[int, str]]:
        """The places of the commands that need a vector, and their texts; what else there is to
        say of a command takes its place."""
        written: set[tuple[str, str]] = set()
        for place, command in enumerate(outcomes):
            if not isinstance(command, VectorCommand):
                continue
            key = command.collection, command.command.id
            try:
                inner = command.command
                if command.if_changed and isinstance(inner, Upsert) and key not in written:
                    answer = self._unchanged(command.collection, inner)
                    if answer is not None:
                        outcomes[place] = answer
                        continue
                text = self._text_to_embed(command)
            except KissError as refusal:
                outcomes[place] = refusal
                continue
            written.add(key)
            if text is None:
                continue
            embedded = msgspec.structs.replace(inner, embedded=True)
            outcomes[place] = VectorCommand(command.collection, embedded)
            if not self._is_done(command):
                yield place, text

    def _unchanged(self, collection: str, inner: Upsert) -> WrittenVector | None:
        """The answer to an upsert whose text and metadata the id has already."""
        view = self._find(collection).actor.view()
        stored = view.get(inner.id)
        if stored is None or stored.text != inner.text or stored.meta != inner.meta:
            return None
        if inner.ttl_ms is not None or inner.vector not in (b"", stored.vector):
            return None
        return WrittenVector(inner.id, view.offset, stored.expires_at_ms, unchanged=True)

    def _text_to_embed(self, command: VectorCommand) -> str | None:
        """The text that a command's vector is to be made of; None when it needs none."""
        inner = command.command
        if not isinstance(inner, (Add, Upsert, Update)) or inner.vector or not inner.text:
            return None
        spec = self._find(command.collection).actor.rows.spec
        if isinstance(inner, Update) and spec.embedder is None:
            return None
        return inner.text

    def _is_done(self, command: VectorCommand) -> bool:
        """Whether a command is a repeat, which is answered without its vector."""
        op_id = command.command.op_id
        rows = self._find(command.collection).actor.rows
        return op_id is not None and rows.operation(op_id) is not None

    async def _embed(self, spec: CollectionSpec, texts: Sequence[str], kind: Kind) -> list[bytes]:
        if spec.embedder is None:
            raise InvalidArgument(
                f"collection {spec.name!r} has no embedder, so a text needs its vector beside it: "
                'send both, or create a collection with {"embedder": "default"}'
            )
        await self.load()
        embedder = self._embedders.find(spec.embedder)
        if embedder.model != spec.embedder_model:
            raise EmbedderMismatch(
                f"the vectors of collection {spec.name!r} are of {spec.embedder_model}, and "
                f"embedder {spec.embedder!r} is {embedder.model} now: configure the former model, "
                f"or make all vectors anew with POST /v1/vector/{spec.name}/reindex"
            )
        return await _embedded(embedder, texts, kind)


async def _embedded(embedder: Embedder, texts: Sequence[str], kind: Kind) -> list[bytes]:
    vectors = await timed_wait(EMBED, embedder.embed(texts, kind=kind))
    assert vectors.shape == (len(texts), embedder.dim), vectors.shape
    return [row.astype("<f4", copy=False).tobytes() for row in vectors]


def _with_vector(command: VectorCommand, vector: bytes, model: str | None) -> VectorCommand:
    inner = msgspec.structs.replace(command.command, vector=vector, model=model)
    return VectorCommand(command.collection, inner)
