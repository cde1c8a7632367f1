"""The kinds of index, by the names that a collection's ``index.kind`` may have."""

from kissvdb.core.index.disk import VamanaIndex
from kissvdb.core.index.flat import FlatIndex
from kissvdb.core.index.graph import GraphIndex
from kissvdb.core.index.index import Index
from kissvdb.core.index.ivf import IvfIndex
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.spec import CollectionSpec

KINDS: dict[str, type[GraphIndex] | type[FlatIndex] | type[IvfIndex] | type[VamanaIndex]] = {
    "hnsw": GraphIndex,
    "flat": FlatIndex,
    "ivf": IvfIndex,
    "vamana": VamanaIndex,
}


def empty_index(spec: CollectionSpec, kernels: Kernels) -> Index:
    """The index of a new collection; of documents, one that never covers a row."""
    return FlatIndex() if spec.holds_documents else KINDS[spec.index].new(spec, kernels)
