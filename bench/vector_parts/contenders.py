"""The indexes that are compared in one process: ours by three forms of code, and other libraries.

All are given the same vectors, of length one; their inner product is the cosine.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from bench.vector_parts.data import K
from kissvdb.core.index import graph as graph_index
from kissvdb.kernels.arrays import COSINE, Codes, Graph, Scratch, new_scratch
from kissvdb.kernels.codes import quantize
from kissvdb.kernels.codes.prepare import prepare
from kissvdb.kernels.graph import insert, search

M = 16
POOL_MAX = 4096
TRAINING_ROWS = 4096

Search = Callable[[Any], Any]


@attrs.frozen
class Contender:
    """An index to measure. ``at(ef)`` answers a search of many queries: their nearest rows.

    ``bytes_each``: what the index takes for a vector, as it says itself.
    """

    name: str
    build_s: float
    bytes_each: float
    at: Callable[[int], Search]


class Ours(NamedTuple):
    """Our index: rows, one graph, and the rows in every form to walk by."""

    rows: Any
    graph: Graph
    float32: Codes
    int8: Codes
    int4: Codes
    scratch: Scratch


Build = Callable[[Any, int], Iterator[Contender]]


def build_ours(base: Any, ef_construction: int, linked_by: str) -> tuple[Ours, float]:
    """Our index, linked by ``int8`` codes or ``float32`` rows, and the CPU time it took."""
    count, dim = base.shape
    began = time.process_time()
    rows = prepare(base, COSINE)
    sample = rows[: count : -(-count // TRAINING_ROWS)]
    floats = quantize.float32_codes(rows, COSINE)
    bytes_ = quantize.int8_codes(count, quantize.train_int8(sample, COSINE, dim))
    nibbles = quantize.int4_codes(count, quantize.train_int4(sample, COSINE, dim))
    if linked_by == "int8":
        quantize.encode_int8(rows, 0, count, COSINE, bytes_)
        quantize.encode_int4(rows, 0, count, COSINE, nibbles)
    scratch = new_scratch(count, POOL_MAX, 2 * M, dim)
    codes = bytes_ if linked_by == "int8" else floats
    empty = insert.new_graph(M, count)
    graph = insert.insert(empty, codes, COSINE, count, ef_construction, [scratch])
    return Ours(rows, graph, floats, bytes_, nibbles, scratch), time.process_time() - began


def _contender(ours: Ours, name: str, form: str, build_s: float) -> Contender:
    codes = getattr(ours, form)
    links = ours.graph.links.nbytes + ours.graph.upper.nbytes + ours.graph.levels.nbytes
    coded = 0 if form == "float32" else codes.rows.nbytes

    def at(ef: int) -> Search:
        depth = min(graph_index.DEPTH_MIN, ef)

        def run(queries: Any) -> Any:
            prepared = prepare(queries, COSINE)
            return search.search(
                ours.graph, codes, ours.rows, COSINE, prepared, K, ef, depth, ours.scratch
            )[0]

        return run

    each = (links + coded + ours.rows.nbytes) / len(ours.rows)
    return Contender(name, build_s, each, at)


def ours_by_codes(base: Any, ef_construction: int) -> Iterator[Contender]:
    ours, build_s = build_ours(base, ef_construction, "int8")
    yield _contender(ours, "ours q4", "int4", build_s)
    yield _contender(ours, "ours q8", "int8", build_s)


def ours_by_floats(base: Any, ef_construction: int) -> Iterator[Contender]:
    ours, build_s = build_ours(base, ef_construction, "float32")
    yield _contender(ours, "ours float32", "float32", build_s)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call answers, and the CPU time of this process that it takes."""
    began = time.process_time()
    made = call()
    return made, time.process_time() - began


def hnswlib(base: Any, ef_construction: int) -> Iterator[Contender]:
    import hnswlib

    index = hnswlib.Index("ip", base.shape[1])
    index.init_index(len(base), M=M, ef_construction=ef_construction)
    index.set_num_threads(1)
    _, build_s = timed(lambda: index.add_items(base, num_threads=1))

    def at(ef: int) -> Search:
        index.set_ef(ef)
        return lambda queries: index.knn_query(queries, K, num_threads=1)[0]

    yield Contender("hnswlib", build_s, index.index_file_size() / len(base), at)


def faiss(base: Any, ef_construction: int) -> Iterator[Contender]:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(base.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction
    _, build_s = timed(lambda: index.add(base))

    def at(ef: int) -> Search:
        index.hnsw.efSearch = ef
        return lambda queries: index.search(queries, K)[1]

    yield Contender("faiss HNSWFlat", build_s, faiss.serialize_index(index).size / len(base), at)


def usearch(base: Any, ef_construction: int) -> Iterator[Contender]:
    import numpy as np
    from usearch.index import Index

    index = Index(
        ndim=base.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=M,
        expansion_add=ef_construction,
    )
    _, build_s = timed(lambda: index.add(np.arange(len(base)), base, threads=1))

    def at(ef: int) -> Search:
        index.expansion_search = ef
        # One query is answered as one row and not as a matrix.
        return lambda queries: np.atleast_2d(index.search(queries, K, threads=1).keys)

    yield Contender("usearch", build_s, index.serialized_length / len(base), at)


def svs(base: Any, ef_construction: int) -> Iterator[Contender]:
    yield _vamana("svs float32", base, base, ef_construction)


def _lvq(name: str, bits: tuple[int, int], base: Any, ef_construction: int) -> Iterator[Contender]:
    import svs

    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "base.fvecs")
        svs.write_vecs(base, path)
        loader = svs.VectorDataLoader(path, svs.DataType.float32, base.shape[1])
        compressed = svs.LVQLoader(loader, primary=bits[0], residual=bits[1])
        yield _vamana(name, base, compressed, ef_construction)


def _vamana(name: str, base: Any, source: Any, ef_construction: int) -> Contender:
    """``source``: what is indexed, the vectors or a loader of them."""
    import svs

    parameters = svs.VamanaBuildParameters(
        alpha=0.95, graph_max_degree=2 * M, window_size=ef_construction
    )
    kind = svs.DistanceType.MIP
    index, build_s = timed(lambda: svs.Vamana.build(parameters, source, kind, num_threads=1))

    def at(ef: int) -> Search:
        index.search_window_size = ef
        return lambda queries: index.search(queries, K)[0]

    with tempfile.TemporaryDirectory() as directory:
        index.save(*(str(Path(directory) / part) for part in ("config", "graph", "data")))
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    return Contender(name, build_s, size / len(base), at)


def lvq_builders() -> list[tuple[str, Build]]:
    """SVS with LVQ where the processor is one it allows: elsewhere it ends the process."""
    probe = subprocess.run([sys.executable, "-c", _LVQ_PROBE], capture_output=True, text=True)
    if probe.returncode:
        said = (probe.stdout + probe.stderr).strip().splitlines() or ["no reason given"]
        print(f"skipped: svs LVQ8, svs LVQ4x8: {said[-1]}", flush=True)
        return []
    forms = {"svs LVQ8": (8, 0), "svs LVQ4x8": (4, 8)}
    return [(name, partial(_lvq, name, bits)) for name, bits in forms.items()]


_LVQ_PROBE = """
import numpy, os, svs, tempfile
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "a.fvecs")
    svs.write_vecs(numpy.random.default_rng(0).random((500, 64), numpy.float32), path)
    loader = svs.LVQLoader(svs.VectorDataLoader(path, svs.DataType.float32, 64), primary=8)
    parameters = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=16, window_size=32)
    svs.Vamana.build(parameters, loader, svs.DistanceType.MIP, num_threads=1)
"""
