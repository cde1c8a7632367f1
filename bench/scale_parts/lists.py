"""Other libraries' lists and scans: faiss IVF-PQ with a refinement, and turbovec."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from bench.scale_parts.made import K, Made, blocks, unit

TRAINING_A_LIST = 40
WIDE_FROM = 128


class FaissFastScan:
    """Inverted lists of 4-bit product codes, and exact scores of the best.

    ``efforts``: how many lists; from WIDE_FROM on more rows get exact scores, for else no number of
    lists brings the recall to 0.99.
    """

    package = "faiss-cpu"
    settings = "4 sqrt(n) lists, PQ96x4fs, float32 refinement of 30 k, from nprobe 128 on of 100 k"
    efforts = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    on_disk = False

    def build(self, made: Made, directory: Path) -> None:
        """As ``Contender.build``."""
        faiss = _faiss()
        count, dim = made.base.shape
        lists = round(4 * math.sqrt(count))
        index = faiss.index_factory(
            dim, f"IVF{lists},PQ{dim // 4}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT
        )
        places = np.random.default_rng(0).choice(count, min(count, TRAINING_A_LIST * lists), False)
        index.train(unit(made.base[np.sort(places)].astype(np.float32)))
        for block in blocks(made.base):
            index.add(block)
        faiss.write_index(index, str(directory / "index"))

    def open(self, directory: Path) -> None:
        """As ``Contender.open``."""
        faiss = _faiss()
        self._index = faiss.read_index(str(directory / "index"))
        self._lists = faiss.extract_index_ivf(self._index)

    def search(self, queries: Any, effort: int) -> Any:
        """As ``Contender.search``."""
        self._lists.nprobe = effort
        self._index.k_factor = 30 if effort < WIDE_FROM else 100
        return self._index.search(queries, K)[1]


def _faiss() -> Any:
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss


class Turbovec:
    """All rows scanned by 4-bit codes, without a list; then exact scores of the best, which are
    read from the set itself."""

    package = "turbovec"
    settings = "4 bits, calibrated, all rows scanned; exact scores of the best by numpy"
    efforts = (10, 12, 15, 20, 30, 50, 100)
    on_disk = False

    def build(self, made: Made, directory: Path) -> None:
        """As ``Contender.build``."""
        import turbovec

        index = turbovec.TurboQuantIndex(dim=made.base.shape[1], bit_width=4)
        sample = np.linspace(0, len(made.base) - 1, min(len(made.base), 20_000)).astype(np.int64)
        index.calibrate(unit(made.base[sample].astype(np.float32)))
        for block in blocks(made.base):
            index.add(block)
        index.write(str(directory / "index"))

    def open(self, directory: Path) -> None:
        """As ``Contender.open``."""
        import turbovec

        self._index = turbovec.TurboQuantIndex.load(str(directory / "index"))
        self._base = np.load(directory.parent / "base.npy", mmap_mode="r")

    def search(self, queries: Any, effort: int) -> Any:
        """As ``Contender.search``."""
        found = self._index.search(queries, k=effort)[1]
        rows = unit(self._base[found.reshape(-1)].astype(np.float32))
        rows = rows.reshape(*found.shape, -1)
        scores = np.einsum("qd,qed->qe", queries, rows)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        return np.take_along_axis(found, best, 1)
