"""Growing a graph: codebooks are trained, rows coded and linked."""

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.index.codes import NOTHING, TRAINING_ROWS_MAX, codes_in, float32_codes
from kissvdb.core.index.graph_body import Body
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.kernels.arrays import METRICS, Codes, Graph, new_scratch

Array = npt.NDArray[Any]

ENCODED_ROWS = 1024
"""So many at a time by one thread."""
RETRAINING_FACTOR = 4
"""Codebooks are trained anew, and all rows coded anew, when there are so many times more rows: the
first rows of a collection may be unlike the rest. Coding is a hundredth of the work of linking."""


def grown(
    kernels: Kernels,
    body: Body | None,
    spec: CollectionSpec,
    data: RowData,
    last: int,
    space: Space,
    training_rows: int | None,
    precision: str,
) -> Body:
    """The body with the rows up to ``last``; for one thread at a time.

    Codes lie in ``space``. ``training_rows``: how many rows a new body's codebooks are to be
    trained on a sample of, ``last`` if None. ``precision``: a new body's.
    """
    if body is None:
        graph = kernels.compiled.insert.new_graph(spec.m)
        body = _trained(kernels, spec, data, training_rows or last, graph, precision)
    elif last >= RETRAINING_FACTOR * body.trained_rows and body.precision != "none":
        body = _trained(kernels, spec, data, last, body.graph, body.precision)
    build = _encoded(kernels, body.build, body, data, last, space)
    walk = build
    if body.walk.rows.dtype != body.build.rows.dtype:
        walk = _encoded(kernels, body.walk, body, data, last, space)
    capacity, links_max = build.rows.shape[0], body.graph.links.shape[1]
    # Building is one thread's business, so these are not kept for searches.
    scratches = [
        new_scratch(capacity, spec.ef_construction, links_max, spec.dim)
        for _ in range(kernels.build_threads)
    ]
    graph = kernels.compiled.insert.insert(
        body.graph, build, METRICS[spec.metric], last, spec.ef_construction, scratches
    )
    return Body(graph, build, walk, body.precision, body.trained_rows)


def refined(kernels: Kernels, body: Body, data: RowData) -> Body:
    """The same graph, walked by the next finer form of the rows: int8, then float32."""
    if body.precision == "q4":
        return attrs.evolve(body, walk=body.build, precision="q8")
    walk = float32_codes(kernels.compiled.quantize, NOTHING, data, 0, body.size)
    return attrs.evolve(body, walk=walk, precision="none")


def _trained(
    kernels: Kernels,
    spec: CollectionSpec,
    data: RowData,
    last: int,
    graph: Graph,
    precision: str,
) -> Body:
    """A body with a graph and new codebooks, no row encoded."""
    quantize, metric = kernels.compiled.quantize, METRICS[spec.metric]
    if precision == "none":
        codes = quantize.float32_codes(data.vectors[:0], metric)
        return Body(graph, codes, codes, precision, 0)
    sample = data.prepared(slice(0, last, -(-last // TRAINING_ROWS_MAX)))
    build = walk = quantize.int8_codes(0, quantize.train_int8(sample, metric, spec.dim))
    if precision == "q4":
        walk = quantize.int4_codes(0, quantize.train_int4(sample, metric, spec.dim))
    return Body(graph, build, walk, precision, last)


def _encoded(
    kernels: Kernels, codes: Codes, body: Body, data: RowData, last: int, space: Space
) -> Codes:
    """The codes with those of all rows up to ``last``, in larger arrays if need be."""
    first = min(body.size, codes.rows.shape[0])
    quantize, metric = kernels.compiled.quantize, METRICS[data.metric]
    if codes.rows.dtype == np.float32:
        return float32_codes(quantize, codes.aux, data, first, last)
    kind = str(codes.rows.dtype)
    codes = codes_in(space, kind, last, body.trained_rows, codes.scale, codes.mean, data.metric)
    encode = quantize.encode_int8 if kind == "int8" else quantize.encode_int4

    def encode_some(start: int) -> None:
        stop = min(start + ENCODED_ROWS, last)
        if data.vectors.dtype == np.float32:
            encode(data.vectors, start, stop, metric, codes)
        else:
            aux = codes.aux[start:stop] if len(codes.aux) else codes.aux
            here = codes._replace(rows=codes.rows[start:stop], aux=aux)
            encode(data.prepared(slice(start, stop)), 0, stop - start, metric, here)

    with kernels.threads() as pool:
        # All are waited for, and what one of them raises is raised.
        list(pool.map(encode_some, range(first, last, ENCODED_ROWS)))
    return codes
