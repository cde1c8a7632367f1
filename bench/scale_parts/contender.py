"""What the bench asks of every index it compares, and which there are.

An index is built once into a directory of its own and opened from there. Each is built and searched
in a process of its own (``worker``), with one thread and its own library only: so memory can be
told apart, and one that crashes takes nobody along.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from bench.scale_parts.made import Made


class Contender(Protocol):
    """An index of one kind; ``package`` is what it comes from, ``settings`` how it is built.

    ``efforts``: what a search may be told to try, ascending; ``on_disk``: whether its vectors stay
    on the disk while it is searched.
    """

    package: str
    settings: str
    efforts: Sequence[int]
    on_disk: bool

    def build(self, made: Made, directory: Path) -> None:
        """Build it of all rows, and leave it in the directory."""

    def open(self, directory: Path) -> None:
        """Open what ``build`` left."""

    def search(self, queries: Any, effort: int) -> Any:
        """The K nearest rows of each query, float32 [q, dim] of length one, best first."""


@attrs.frozen
class Kind:
    """Where a contender's class is, and what it is made with. ``ours``: of this project."""

    place: str
    arguments: Mapping[str, Any] = attrs.Factory(dict)
    ours: bool = False

    def new(self) -> Contender:
        """One of them."""
        module, _, name = self.place.rpartition(".")
        made: Contender = getattr(importlib.import_module(module), name)(**self.arguments)
        return made


_HERE = "bench.scale_parts"
KINDS: dict[str, Kind] = {
    "ours hnsw": Kind(f"{_HERE}.ours.Ours", {"kind": "hnsw"}, ours=True),
    "ours ivf": Kind(f"{_HERE}.ours.Ours", {"kind": "ivf"}, ours=True),
    "ours vamana": Kind(f"{_HERE}.ours.Ours", {"kind": "vamana"}, ours=True),
    "hnswlib": Kind(f"{_HERE}.graphs.Hnswlib"),
    "faiss IVF-PQ": Kind(f"{_HERE}.lists.FaissFastScan"),
    "turbovec": Kind(f"{_HERE}.lists.Turbovec"),
    "zvec hnsw": Kind(f"{_HERE}.zvec_kinds.Zvec", {"kind": "hnsw"}),
    "zvec hnsw int8": Kind(f"{_HERE}.zvec_kinds.Zvec", {"kind": "hnsw int8"}),
    "zvec hnsw rabitq": Kind(f"{_HERE}.zvec_kinds.Zvec", {"kind": "hnsw rabitq"}),
    "zvec ivf": Kind(f"{_HERE}.zvec_kinds.Zvec", {"kind": "ivf"}),
    "zvec ivf rabitq": Kind(f"{_HERE}.zvec_kinds.Zvec", {"kind": "ivf rabitq"}),
    "zvec diskann": Kind(f"{_HERE}.zvec_kinds.Zvec", {"kind": "diskann"}),
    "svs float16": Kind(f"{_HERE}.graphs.Svs", {"form": "float16"}),
    "svs LVQ4x8": Kind(f"{_HERE}.graphs.Svs", {"form": "LVQ4x8"}),
}
