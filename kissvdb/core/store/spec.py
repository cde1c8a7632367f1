"""What a collection is made of, fixed when it is created."""

from typing import Final

import attrs
import msgspec

from kissvdb.records import CollectionCreated

METRICS: Final = ("cosine", "dot", "l2")
INDEX_KINDS: Final = ("hnsw", "flat")
QUANTIZATIONS: Final = ("auto", "q4", "q8", "none")
M_MIN: Final = 4
M_MAX: Final = 64
EF_CONSTRUCTION_MAX: Final = 2000
NUMBER_MAX: Final = 1e15
"""Of a vector: the square of a distance then fits into a float32, whatever the dimension."""
NAMESPACE_FIELD: Final = "_namespace"
"""The metadata field that says to which namespace a row belongs."""


@attrs.frozen
class CollectionSpec:
    """``m`` links a row in the graph's upper layers, twice that in the bottom one.

    ``ef_construction`` is how many candidates its neighbours are chosen from. ``auto`` is q4 that
    may become finer when an audit finds too little recall. ``ttl_ms`` is the default of its
    vectors. Whoever parses a request checks the ranges; here they are invariants.
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

    def __attrs_post_init__(self) -> None:
        assert self.dim >= 1, self.dim
        assert self.metric in METRICS, self.metric
        assert self.index in INDEX_KINDS, self.index
        assert M_MIN <= self.m <= M_MAX, self.m
        assert 1 <= self.ef_construction <= EF_CONSTRUCTION_MAX, self.ef_construction
        assert self.quantization in QUANTIZATIONS, self.quantization

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
        )


class StoredRow(msgspec.Struct, frozen=True):
    """A row as it was written. ``vector`` is little-endian float32 as it was sent."""

    row: int
    id: str
    vector: bytes
    meta: bytes | None
    expires_at_ms: int | None
