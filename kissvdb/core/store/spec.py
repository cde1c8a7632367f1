"""What a collection is made of, fixed when it is created."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from kissvdb.core.store.options import DEFAULT, IndexOptions, Tuning
from kissvdb.core.text.fields import TEXT_FIELD
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.errors import MistypedField
from kissvdb.records import (
    CollectionCreated,
    CollectionReindexing,
    CollectionReplaced,
    CollectionTuned,
)

METRICS: Final = ("cosine", "dot", "l2")
INDEX_KINDS: Final = ("hnsw", "flat", "ivf", "vamana")
HALF_KINDS: Final = ("hnsw", "flat")
"""The kinds of index whose rows may be stored as float16."""
QUANTIZATIONS: Final = ("auto", "q4", "q8", "none")
M_MIN: Final = 4
M_MAX: Final = 64
EF_CONSTRUCTION_MAX: Final = 2000
NUMBER_MAX: Final = 1e15
"""Of a vector: the square of a distance then fits into a float32, whatever the dimension."""
NONE: Final = "none"
"""The metric, and the kind of index, of rows without vectors."""
NAMESPACE_FIELD: Final = "_namespace"
"""The metadata field that says to which namespace a row belongs."""


_SHADOW: Final = "~"


def shadow_of(name: str) -> str:
    """The name of the collection that is made to take the place of another. No user can give it."""
    return _SHADOW + name


def is_shadow(name: str) -> bool:
    """Whether a collection is made to take the place of another."""
    return name.startswith(_SHADOW)


@attrs.frozen
class CollectionSpec:
    """``dim`` numbers a vector; 0: the rows are documents, without metric and index.

    ``m`` links a row in the graph's upper layers, twice that in the bottom one.

    ``ef_construction`` is how many candidates its neighbours are chosen from. ``auto`` is q4 that
    may become finer when an audit finds too little recall. ``ttl_ms`` is the default of its
    vectors. ``embedder``: the configured name of what makes vectors of texts, and
    ``embedder_model`` what was behind it. ``text``: how texts are searched, if not as by default.
    ``reindexed``: how often all vectors were made anew by another embedder. ``options``: what the
    index was told beyond its kind. ``tuning``: what was measured of it last.
    Whoever parses a request checks the ranges; here they are
    invariants.
    """

    name: str
    dim: int
    metric: str
    index: str = "hnsw"
    m: int = 16
    ef_construction: int = 200
    quantization: str = "auto"
    ttl_ms: int | None = None
    created_at_ms: int = 0
    embedder: str | None = None
    embedder_model: str | None = None
    text: TextSettings | None = None
    reindexed: int = 0
    options: IndexOptions = DEFAULT
    tuning: Tuning | None = None

    def __attrs_post_init__(self) -> None:
        assert self.dim >= 0, self.dim
        assert self.metric in (METRICS if self.dim else (NONE,)), self.metric
        assert self.index in (INDEX_KINDS if self.dim else (NONE,)), self.index
        assert self.dim or self.embedder is None, "documents are not embedded"
        assert M_MIN <= self.m <= M_MAX, self.m
        assert 1 <= self.ef_construction <= EF_CONSTRUCTION_MAX, self.ef_construction
        assert self.quantization in QUANTIZATIONS, self.quantization
        self._check_store()

    def _check_store(self) -> None:
        """Raises MistypedField where float16 cannot be stored."""
        if self.options.store == "f32":
            return
        if self.metric != "cosine":
            raise MistypedField(
                f"index.store: f16 is for the metric cosine, not {self.metric}: float16 has no "
                "number above 65504"
            )
        if self.index not in HALF_KINDS:
            kinds = " and ".join(HALF_KINDS)
            raise MistypedField(f"index.store: f16 is for index.kind {kinds}, not {self.index}")
        if self.quantization == "none":
            raise MistypedField(
                "index.store: f16 needs a quantization of auto, q4 or q8: none walks by float32"
            )

    @classmethod
    def of_documents(
        cls, name: str, created_at_ms: int = 0, text: TextSettings | None = None
    ) -> "CollectionSpec":
        """A collection of documents: rows without vectors."""
        return cls(name, 0, NONE, NONE, created_at_ms=created_at_ms, text=text)

    def named(self, name: str) -> "CollectionSpec":
        """The same under another name."""
        return attrs.evolve(self, name=name)

    @property
    def holds_documents(self) -> bool:
        """Whether the rows are documents, not vectors."""
        return not self.dim

    @property
    def text_settings(self) -> TextSettings:
        """How texts are searched."""
        if self.text is not None:
            return self.text
        return TextSettings() if self.holds_documents else _VECTOR_TEXT

    @property
    def shape(self) -> tuple[str, int, int, str, bytes | None]:
        """What a reindex changes, as records have it: index, m, ef_construction, quantization,
        options."""
        options = self.options.encoded()
        return self.index, self.m, self.ef_construction, self.quantization, options

    def reshaped(
        self, record: CollectionReplaced | CollectionReindexing
    ) -> "CollectionSpec | None":
        """The same with the ``shape`` that a record says; None: it says none."""
        if record.index is None:
            return None
        return attrs.evolve(
            self,
            index=record.index,
            m=record.m,
            ef_construction=record.ef_construction,
            quantization=record.quantization,
            options=IndexOptions.decoded(record.options),
            tuning=None,
        )

    def tuned(self, record: CollectionTuned) -> "CollectionSpec":
        """The same with what a record says was measured."""
        options, tuning = IndexOptions.decoded(record.options), Tuning.decoded(record.tuning)
        return attrs.evolve(self, options=options, tuning=tuning)

    @property
    def vector_bytes(self) -> int:
        """The length of a vector as it is sent and logged: little-endian float32."""
        return 4 * self.dim

    def record(self, op_id: str | None = None) -> CollectionCreated:
        """The record of its creation."""
        return CollectionCreated(
            self.name,
            self.dim,
            self.metric,
            self.index,
            self.m,
            self.ef_construction,
            self.quantization,
            self.ttl_ms,
            self.created_at_ms,
            op_id,
            self.embedder,
            self.embedder_model,
            None if self.text is None else msgspec.json.encode(self.text.to_json()),
            self.reindexed,
            self.options.encoded(),
        )

    @classmethod
    def of_record(cls, record: CollectionCreated) -> "CollectionSpec":
        """The collection that a record created."""
        return cls(
            record.collection,
            record.dim,
            record.metric,
            record.index,
            record.m,
            record.ef_construction,
            record.quantization,
            record.ttl_ms,
            record.created_at_ms,
            record.embedder,
            record.embedder_model,
            None
            if record.text is None
            else TextSettings.from_json(msgspec.json.decode(record.text)),
            record.reindexed,
            IndexOptions.decoded(record.options),
        )

    def to_fields(self) -> dict[str, Any]:
        """The spec in a manifest: what is not as older versions knew it is left out."""
        fields = attrs.asdict(self, recurse=False)
        if self.text is not None:
            fields["text"] = self.text.to_json()
        fields["options"] = self.options.given()
        fields["tuning"] = None if self.tuning is None else msgspec.to_builtins(self.tuning)
        return {name: each for name, each in fields.items() if name not in _ADDED or each}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> "CollectionSpec":
        """The spec of ``to_fields``. Raises TypeError or InvalidArgument for another form."""
        text = fields.get("text")
        given: dict[str, Any] = {} if text is None else {"text": TextSettings.from_json(text)}
        if "options" in fields:
            given["options"] = IndexOptions.of_fields(fields["options"])
        if "tuning" in fields:
            given["tuning"] = msgspec.convert(fields["tuning"], Tuning)
        return cls(**{**fields, **given})


def _settings(text: bytes | None) -> TextSettings | None:
    return None if text is None else TextSettings.from_json(msgspec.json.decode(text))


_ADDED: Final = frozenset({"embedder", "embedder_model", "text", "reindexed", "options", "tuning"})
_VECTOR_TEXT: Final = TextSettings({TEXT_FIELD: FieldSettings()}, others=False)


class StoredRow(msgspec.Struct, frozen=True):
    """A row as it was written. ``vector`` is little-endian float32 as it was sent.

    Of a document ``vector`` is empty and ``meta`` the document; ``revision``, and ``offset``, that
    of the record that wrote it, are 0 for a vector.
    """

    row: int
    id: str
    vector: bytes
    meta: bytes | None
    expires_at_ms: int | None
    text: str | None = None
    revision: int = 0
    offset: int = 0
