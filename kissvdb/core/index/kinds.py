"""The kinds of index, by the names that a collection's ``index.kind`` may have."""

from kissvdb.core.index.flat import FlatIndex
from kissvdb.core.index.graph import GraphIndex

KINDS: dict[str, type[GraphIndex] | type[FlatIndex]] = {"hnsw": GraphIndex, "flat": FlatIndex}
