"""The indexes of zvec: HNSW (float32, int8, RaBitQ), IVF (float32, RaBitQ), DiskANN.

It answers one query a call. The query objects are made before the clock starts, and its answers
are not made into documents: what is measured is zvec's own work, and the call.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from bench.scale_parts.graphs import EF_CONSTRUCTION, EFFORTS, M
from bench.scale_parts.made import K, Made, blocks

FIELD = "v"
INSERTED = 1000
NPROBES = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Zvec:
    """One kind of index of zvec, with one thread to build and one to search."""

    package = "zvec"

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.on_disk = kind == "diskann"
        self.efforts = NPROBES if kind.startswith("ivf") else EFFORTS
        self.settings = {
            "hnsw": f"m {M}, ef_construction {EF_CONSTRUCTION}, float32, contiguous memory",
            "hnsw int8": f"m {M}, ef_construction {EF_CONSTRUCTION}, int8 and refined",
            "hnsw rabitq": f"m {M}, ef_construction {EF_CONSTRUCTION}, 7 bits",
            "ivf": "4 sqrt(n) lists, float32",
            "ivf rabitq": "4 sqrt(n) lists, 7 bits",
            "diskann": "max_degree 64, list_size 50",
        }[kind]
        self._queries: dict[tuple[bytes, int], list[Any]] = {}

    def build(self, made: Made, directory: Path) -> None:
        """As ``Contender.build``."""
        zvec = _zvec()
        count, dim = made.base.shape
        vector = zvec.VectorSchema(
            FIELD, zvec.DataType.VECTOR_FP32, dim, index_param=self._built(zvec, count)
        )
        schema = zvec.CollectionSchema(name="scale", vectors=[vector])
        collection = zvec.create_and_open(str(directory / "index"), schema)
        row = 0
        for block in blocks(made.base, INSERTED):
            documents = [
                zvec.Doc(id=str(row + place), vectors={FIELD: vector})
                for place, vector in enumerate(block)
            ]
            row += len(documents)
            if not all(status.ok() for status in collection.insert(documents)):
                raise RuntimeError(f"zvec refused rows before {row}")
        collection.optimize()
        collection.flush()
        collection.close()

    def open(self, directory: Path) -> None:
        """As ``Contender.open``."""
        zvec = _zvec()
        self._zvec = zvec
        option = zvec.CollectionOption(read_only=True, enable_mmap=True)
        self._collection = zvec.open(str(directory / "index"), option)

    def search(self, queries: Any, effort: int) -> Any:
        """As ``Contender.search``."""
        native = self._collection._obj
        found = [native.Query(query) for query in self._prepared(queries, effort)]
        return np.array([[int(hit[0]) for hit in each] for each in found])

    def prepare(self, queries: Any, effort: int) -> None:
        """Make the query objects; not measured."""
        self._prepared(queries, effort)

    def _prepared(self, queries: Any, effort: int) -> list[Any]:
        from zvec.executor.query_executor import QueryContext

        key = queries.tobytes(), effort
        if key not in self._queries:
            if len(queries) > 1:
                self._queries.clear()
            executor, native = self._collection._querier, self._collection._obj
            param = self._asked(effort)
            asked = (self._zvec.Query(FIELD, vector=query, param=param) for query in queries)
            contexts = (QueryContext(topk=K, queries=[each], output_fields=[]) for each in asked)
            self._queries[key] = [executor._build_queries(each, native)[0] for each in contexts]
        return self._queries[key]

    def _built(self, zvec: Any, count: int) -> Any:
        from zvec.model import param

        metric, lists = zvec.MetricType.IP, round(4 * math.sqrt(count))
        graph = {"metric_type": metric, "m": M, "ef_construction": EF_CONSTRUCTION}
        if self._kind == "hnsw":
            return param.HnswIndexParam(**graph, use_contiguous_memory=True)
        if self._kind == "hnsw int8":
            int8 = zvec.QuantizeType.INT8
            return param.HnswIndexParam(**graph, quantize_type=int8, use_contiguous_memory=True)
        if self._kind == "hnsw rabitq":
            return param.HnswRabitqIndexParam(**graph)
        if self._kind == "ivf":
            return param.IVFIndexParam(metric_type=metric, n_list=lists)
        if self._kind == "ivf rabitq":
            return param.IvfRabitqIndexParam(metric_type=metric, nlist=lists)
        return param.DiskAnnIndexParam(metric_type=metric, max_degree=64, list_size=50)

    def _asked(self, effort: int) -> Any:
        from zvec.model import param

        if self._kind == "hnsw":
            return param.HnswQueryParam(ef=effort)
        if self._kind == "hnsw int8":
            return param.HnswQueryParam(ef=effort, is_using_refiner=True)
        if self._kind == "hnsw rabitq":
            return param.HnswRabitqQueryParam(ef=effort)
        if self._kind == "ivf":
            return param.IVFQueryParam(nprobe=effort)
        if self._kind == "ivf rabitq":
            return param.IvfRabitqQueryParam(nprobe=effort)
        return param.DiskAnnQueryParam(list_size=effort)


def _zvec() -> Any:
    import zvec

    zvec.init(query_threads=1, optimize_threads=1, log_level=zvec.LogLevel.ERROR)
    return zvec
