"""What a filter costs in the kernels alone: 4-bit search of random subsets, by graph or by scan."""

from functools import partial
from typing import Any

import numpy as np

from bench.load import report
from bench.load.report import Cell, Place
from bench.vector_parts.choices import SELECTIVITIES
from bench.vector_parts.contenders import build_ours
from bench.vector_parts.data import Data, K, recall
from bench.vector_parts.ladder import cpu_s
from kissvdb.kernels import scan, warmup
from kissvdb.kernels.arrays import COSINE
from kissvdb.kernels.codes.prepare import prepare
from kissvdb.kernels.graph import filtered, search

GROUP = "filter in the kernels"
FREE = "no filter"
EF = 64
EF_CONSTRUCTION = 200
DEPTH = 4 * K
QUERIES = 300


def measure(data: Data, rounds: int) -> tuple[list[Cell], list[report.Ratio]]:
    """Queries a second of CPU time for every selectivity, and their ratio to no filter."""
    warmup.compile_all()
    ours, _ = build_ours(data.base, EF_CONSTRUCTION, "int8")
    queries = prepare(data.queries[:QUERIES], COSINE)
    count = len(ours.rows)
    random = np.random.default_rng(1)
    parts = (ours.int4, ours.rows)

    def by_graph(words: Any) -> Any:
        return filtered.search_filtered(
            ours.graph, *parts, COSINE, queries, K, EF, DEPTH, ours.scratch, words
        )[0]

    def by_scan(words: Any) -> Any:
        return scan.scan_codes(*parts, count, COSINE, queries, K, DEPTH, ours.scratch, words)[0]

    def free(words: Any) -> Any:
        return search.search(ours.graph, *parts, COSINE, queries, K, EF, DEPTH, ours.scratch)[0]

    asked: list[tuple[str, Any, Any, float]] = []
    for selectivity in (*SELECTIVITIES, 1.0):
        words = np.zeros(-(-count // 64), dtype=np.uint64)
        packed = np.packbits(random.random(count) < selectivity, bitorder="little")
        words.view(np.uint8)[: packed.size] = packed
        exact, _ = scan.scan_rows(ours.rows, count, COSINE, queries, K, words)
        name, run = FREE, free
        if selectivity < 1.0:
            allowed = filtered.count_allowed(words, count)
            row_bytes = ours.int4.rows.shape[1]
            scanned = filtered.scan_is_cheaper(allowed, count, EF, row_bytes)
            run = by_scan if scanned else by_graph
            name = f"{selectivity:.1%} by {'scan' if scanned else 'graph'}"
        asked.append((name, run, words, recall(run(words), exact)))
    cells = []
    for number in range(rounds):
        for name, run, words, found in asked:
            taken = cpu_s(partial(run, words))
            metrics = {"recall": found, "qps": len(queries) / taken}
            cells.append(Cell(Place(GROUP, name, 1), number, metrics))
    names = [name for name, *_ in asked if name != FREE]
    return cells, report.ratios(cells, names, "qps")
