"""Other libraries' graphs: hnswlib, and Vamana of scalable-vs."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.scale_parts.made import BLOCK, K, Made, blocks, everything

M = 16
EF_CONSTRUCTION = 200
EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


class Hnswlib:
    """HNSW over float32, as hnswlib has it."""

    package = "hnswlib"
    settings = f"M {M}, ef_construction {EF_CONSTRUCTION}, float32"
    efforts = EFFORTS
    on_disk = False

    def build(self, made: Made, directory: Path) -> None:
        """As ``Contender.build``."""
        index = self._empty(made.base.shape[1])
        index.init_index(len(made.base), M=M, ef_construction=EF_CONSTRUCTION)
        for start, block in zip(range(0, len(made.base), BLOCK), blocks(made.base), strict=True):
            numbers = np.arange(start, start + len(block))
            index.add_items(block, numbers, num_threads=1)
        index.save_index(str(directory / "index"))
        (directory / "dim.json").write_text(json.dumps(made.base.shape[1]))

    def open(self, directory: Path) -> None:
        """As ``Contender.open``."""
        self._index = self._empty(json.loads((directory / "dim.json").read_text()))
        self._index.load_index(str(directory / "index"))
        self._index.set_num_threads(1)

    def search(self, queries: Any, effort: int) -> Any:
        """As ``Contender.search``."""
        self._index.set_ef(effort)
        return self._index.knn_query(queries, K, num_threads=1)[0]

    def _empty(self, dim: int) -> Any:
        import hnswlib

        return hnswlib.Index("ip", dim)


class Svs:
    """Vamana as scalable-vs has it. Its LVQ codes run on processors of Intel only."""

    package = "scalable-vs"
    efforts = EFFORTS
    on_disk = False

    def __init__(self, form: str) -> None:
        self._form = form
        self.settings = f"R {2 * M}, window {EF_CONSTRUCTION}, alpha 0.95, {form}"

    def build(self, made: Made, directory: Path) -> None:
        """As ``Contender.build``."""
        import svs

        parameters = svs.VamanaBuildParameters(
            alpha=0.95, graph_max_degree=2 * M, window_size=EF_CONSTRUCTION
        )
        whole = everything(made.base)
        if self._form == "float16":
            source: Any = whole.astype(np.float16)
        else:
            path = str(directory / "base.fvecs")
            svs.write_vecs(whole, path)
            loader = svs.VectorDataLoader(path, svs.DataType.float32, whole.shape[1])
            source = svs.LVQLoader(loader, primary=4, residual=8)
        del whole
        index = svs.Vamana.build(parameters, source, svs.DistanceType.MIP, num_threads=1)
        index.save(*(str(directory / part) for part in ("config", "graph", "data")))
        (directory / "base.fvecs").unlink(missing_ok=True)

    def open(self, directory: Path) -> None:
        """As ``Contender.open``."""
        import svs

        parts = [str(directory / part) for part in ("config", "graph", "data")]
        if self._form == "float16":
            data: Any = svs.VectorDataLoader(parts[2], svs.DataType.float16)
        else:
            data = svs.LVQLoader(parts[2])
        self._index = svs.Vamana(parts[0], parts[1], data, svs.DistanceType.MIP, num_threads=1)

    def search(self, queries: Any, effort: int) -> Any:
        """As ``Contender.search``."""
        self._index.search_window_size = effort
        return self._index.search(queries, K)[0]
