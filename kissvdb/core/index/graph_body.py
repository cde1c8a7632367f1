"""A graph over rows, and the codes it is built and walked with, as values and as files.

It can always be made again from the rows. Codes lie in the collection's ``Space``; the rest of a
body is small, and stored whole.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.index.codes import CodeSum, code_sums, codes_in, codes_name, parts_of
from kissvdb.core.store.space import RowData, Space
from kissvdb.errors import Damaged
from kissvdb.kernels.arrays import Codes, Graph

Array = npt.NDArray[Any]


@attrs.frozen(eq=False)
class Body:
    """The indexed rows: 0 to ``size - 1`` of the collection, linked in one graph.

    ``build`` are the codes the graph is built with, ``walk`` those it is searched with; every
    answer is scored again with the rows themselves. ``trained_rows``: how many rows the codebooks
    were trained on a sample of. Growing writes behind ``size``, and into links, which readers
    follow safely at any moment.
    """

    graph: Graph
    build: Codes
    walk: Codes
    precision: str
    trained_rows: int

    @property
    def size(self) -> int:
        """How many rows are linked."""
        return self.graph.size

    @property
    def nbytes(self) -> int:
        """Bytes of links and codes, without the room to grow."""
        coded = sum(codes.rows[: self.size].nbytes for _, codes in self.coded())
        return int(self.graph.links[: self.size].nbytes + self.graph.upper.nbytes + coded)

    def coded(self) -> list[tuple[str, Codes]]:
        """The codes that lie in the space, each with its name there."""
        distinct = {str(each.rows.dtype): each for each in (self.build, self.walk)}
        return [
            (codes_name(kind, self.trained_rows), codes)
            for kind, codes in distinct.items()
            if kind != "float32"
        ]

    def sums(self, before: Mapping[str, CodeSum]) -> dict[str, CodeSum]:
        """The checksums of the codes, by name; ``before``: those of a smaller body."""
        return code_sums(self.coded(), self.size, before)


def to_fields(body: Body) -> dict[str, Any]:
    """What of a body goes into a manifest."""
    graph = body.graph
    return {
        "size": graph.size,
        "entry": graph.entry,
        "top": graph.top,
        "precision": body.precision,
        "trained_rows": body.trained_rows,
    }


def to_arrays(body: Body) -> dict[str, Array]:
    """What of a body goes into an index file."""
    graph, size = body.graph, body.size
    levels = graph.levels[:size]
    arrays = {
        "links": graph.links[:size],
        "levels": levels,
        "upper_first": graph.upper_first[:size],
        "upper": graph.upper[: int(levels.sum(dtype=np.int64))],
    }
    for role, codes in (("build", body.build), ("walk", body.walk)):
        arrays[f"{role}_scale"] = codes.scale
        arrays[f"{role}_mean"] = codes.mean
        if codes.rows.dtype == np.float32:
            arrays[f"{role}_aux"] = codes.aux[:size]
    return arrays


def body_of(
    fields: Mapping[str, Any],
    arrays: Mapping[str, Array],
    sums: Mapping[str, CodeSum],
    data: RowData,
    space: Space,
) -> Body:
    """The body of ``to_fields`` and ``to_arrays``. Raises Damaged.

    What the codes say is not compared with ``sums`` here, but in `Body.sums`, later: to read all of
    them takes a third of a second at a million rows. They lead nowhere, other than links do.
    """
    try:
        size = int(fields["size"])
        graph = Graph(
            links=arrays["links"],
            levels=arrays["levels"],
            upper_first=arrays["upper_first"],
            upper=arrays["upper"],
            entry=int(fields["entry"]),
            top=int(fields["top"]),
            size=size,
        )
        precision, trained_rows = fields["precision"], int(fields["trained_rows"])
        build_kind = "int8" if len(arrays["build_scale"]) else "float32"
        walk_kind = {"q4": "uint8", "q8": "int8", "none": "float32"}[precision]
        found = {}
        for role, kind in (("build", build_kind), ("walk", walk_kind)):
            scale, mean = arrays[f"{role}_scale"], arrays[f"{role}_mean"]
            if kind == "float32":
                found[role] = Codes(data.vectors, arrays[f"{role}_aux"], scale, mean)
            else:
                found[role] = codes_in(space, kind, size, trained_rows, scale, mean, data.metric)
    except (KeyError, ValueError) as error:
        raise Damaged(f"the index of the rows is of another form: {error!r}") from error
    body = Body(graph, found["build"], found["walk"], precision, trained_rows)
    names = {part for name, codes in body.coded() for part in parts_of(name, codes)}
    summed = {(name, size) for name in names} == {(name, each.rows) for name, each in sums.items()}
    if len(graph.links) != size or size > data.count or not summed:
        raise Damaged("the index does not fit the rows, or its codes not their checksum")
    return body
