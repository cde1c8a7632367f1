"""The databases that run in the program itself, as contenders: zvec, turbovec, Qdrant Edge.

zvec answers one query a call. Its query objects, and Qdrant's, are made before the clock starts,
and zvec's answers are not made into documents.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.vector_parts.contenders import Contender, M, Search, timed
from bench.vector_parts.data import K

INSERTED = 1000
FIELD = "v"
QDRANT_OVERSAMPLING = 2.0


def zvec(base: Any, ef_construction: int) -> Iterator[Contender]:
    """HNSW over float32, over int8 codes with exact scores of the best, and over RaBitQ's."""
    from zvec.model import param

    library = _zvec_library()

    graph = {"metric_type": library.MetricType.IP, "m": M, "ef_construction": ef_construction}
    int8 = {"quantize_type": library.QuantizeType.INT8, "use_contiguous_memory": True}
    kinds = {
        "zvec hnsw": (
            param.HnswIndexParam(**graph, use_contiguous_memory=True),
            lambda ef: param.HnswQueryParam(ef=ef),
        ),
        "zvec hnsw int8": (
            param.HnswIndexParam(**graph, **int8),
            lambda ef: param.HnswQueryParam(ef=ef, is_using_refiner=True),
        ),
        "zvec hnsw rabitq": (
            param.HnswRabitqIndexParam(**graph),
            lambda ef: param.HnswRabitqQueryParam(ef=ef),
        ),
    }
    for name, (built_by, asked_by) in kinds.items():
        yield _zvec(library, name, built_by, asked_by, base)


@functools.cache
def _zvec_library() -> Any:
    """zvec with one thread to build and one to search: that may be said once in a process."""
    import zvec as library

    library.init(query_threads=1, optimize_threads=1, log_level=library.LogLevel.ERROR)
    return library


def _zvec(
    library: Any,
    name: str,
    built_by: Any,
    asked_by: Callable[[int], Any],
    base: Any,
) -> Contender:
    from zvec.executor.query_executor import QueryContext

    # Removed with the last search that could be asked for.
    kept = tempfile.TemporaryDirectory()
    directory = Path(kept.name) / "index"

    field = library.VectorSchema(
        FIELD, library.DataType.VECTOR_FP32, base.shape[1], index_param=built_by
    )
    schema = library.CollectionSchema(name="bench", vectors=[field])
    collection = library.create_and_open(str(directory), schema)
    native = collection._obj
    objects: dict[tuple[int, bytes], Any] = {}

    def build() -> None:
        for start in range(0, len(base), INSERTED):
            rows = enumerate(base[start : start + INSERTED], start)
            documents = [library.Doc(id=str(row), vectors={FIELD: each}) for row, each in rows]
            if not all(status.ok() for status in collection.insert(documents)):
                raise RuntimeError("zvec refused rows")
        collection.optimize()

    def at(ef: int) -> Search:
        asked = asked_by(ef)

        def made(query: Any, kept: Any = kept) -> Any:
            wanted = library.Query(FIELD, vector=query, param=asked)
            context = QueryContext(topk=K, queries=[wanted], output_fields=[])
            return collection._querier._build_queries(context, native)[0]

        def run(queries: Any) -> Any:
            found = [native.Query(_once(objects, ef, each, made)) for each in queries]
            return np.array([[int(hit[0]) for hit in each] for each in found])

        return run

    _, build_s = timed(build)
    collection.flush()
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    return Contender(name, build_s, size / len(base), at)


def turbovec(base: Any, ef_construction: int) -> Iterator[Contender]:
    """All rows scanned by 4-bit codes, and exact scores of the ``ef`` best by numpy."""
    import turbovec as library

    index = library.TurboQuantIndex(dim=base.shape[1], bit_width=4)

    def build() -> None:
        index.calibrate(np.ascontiguousarray(base[:: max(1, len(base) // 20_000)]))
        index.add(base)

    def at(ef: int) -> Search:
        def run(queries: Any) -> Any:
            found = index.search(queries, k=ef)[1]
            scores = np.einsum("qd,qed->qe", queries, base[found])
            best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
            return np.take_along_axis(found, best, 1)

        return run

    _, build_s = timed(build)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "index"
        index.write(str(path))
        size = path.stat().st_size + base.nbytes
    yield Contender("turbovec", build_s, size / len(base), at)


def qdrant_edge(base: Any, ef_construction: int) -> Iterator[Contender]:
    """Qdrant's engine in the process: HNSW over int8, twice as many scored exactly."""
    import qdrant_edge as library

    config = library.EdgeConfig(
        vectors=library.EdgeVectorParams(size=base.shape[1], distance=library.Distance.Dot),
        hnsw_config=library.HnswIndexConfig(
            m=M, ef_construct=ef_construction, full_scan_threshold=10, max_indexing_threads=1
        ),
        quantization_config=library.ScalarQuantizationConfig(library.ScalarType.Int8),
        optimizers=library.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
        max_search_threads=1,
        wal_enabled=False,
    )
    kept = tempfile.TemporaryDirectory()
    shard = library.EdgeShard.create(kept.name, config)

    def build() -> None:
        for start in range(0, len(base), INSERTED):
            rows = enumerate(base[start : start + INSERTED].tolist(), start)
            points = [library.Point(row, vector) for row, vector in rows]
            shard.update(library.UpdateOperation.upsert_points(points))
        shard.optimize()

    _, build_s = timed(build)
    shard.flush()
    files = (file for file in Path(kept.name).rglob("*") if file.is_file())
    size = sum(file.stat().st_blocks * 512 for file in files)
    yield Contender("qdrant-edge int8", build_s, size / len(base), _qdrant(library, shard, kept))


def _qdrant(library: Any, shard: Any, kept: Any) -> Callable[[int], Search]:
    objects: dict[tuple[int, bytes], Any] = {}
    finer = library.QuantizationSearchParams(rescore=True, oversampling=QDRANT_OVERSAMPLING)

    def at(ef: int) -> Search:
        params = library.SearchParams(hnsw_ef=ef, quantization=finer)

        def made(query: Any, kept: Any = kept) -> Any:
            nearest = library.Query.Nearest(query.tolist())
            return library.QueryRequest(limit=K, query=nearest, params=params)

        def run(queries: Any) -> Any:
            asked = [_once(objects, ef, each, made) for each in queries]
            found = shard.query_batch(library.QueryBatchRequest(asked))
            return np.array([[point.id for point in each] for each in found])

        return run

    return at


def _once(
    objects: dict[tuple[int, bytes], Any], ef: int, query: Any, made: Callable[[Any], Any]
) -> Any:
    """The object a library asks with, made when a query comes for the first time: not in a round
    that counts."""
    key = ef, query.tobytes()
    if key not in objects:
        objects[key] = made(query)
    return objects[key]
