"""How fast are the vector kernels, next to hnswlib (and scalable-vs, where installed)?

    python bench/kernels.py --data DIR

DIR holds base.npy [n, d], queries.npy [q, d] and gt.npy [q, at least k]: the exact nearest rows by
inner product. One thread. Figures are CPU time, so that other work on the machine counts less, and
the contenders take turns at every step of the ladder, so that what still counts hits all alike.
"""

import argparse
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kissvdb.kernels import filtered, insert, quantize, scan, search, warmup
from kissvdb.kernels.arrays import COSINE, Codes, Graph, Scratch, new_scratch
from kissvdb.kernels.prepare import prepare

M = 16
K = 10
LADDER = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384)
RECALLS = (0.9, 0.95, 0.99)
SELECTIVITIES = (0.001, 0.01, 0.1, 0.5)
FILTER_EF = 64
POOL_MAX = 4096


class Data(NamedTuple):
    base: Any
    queries: Any
    truth: Any


class Contender(NamedTuple):
    """An index to measure: ``at(ef)`` answers a search of many queries."""

    name: str
    build_s: float
    at: Callable[[int], Callable[[Any], Any]]


class Ours(NamedTuple):
    rows: Any
    graph: Graph
    float32: Codes
    int8: Codes
    int4: Codes
    scratch: Scratch


def recall(found: Any, truth: Any) -> float:
    return float(np.mean([len(set(f) & set(t)) / K for f, t in zip(found, truth, strict=True)]))


def cpu_s(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def build_ours(base: Any, ef_construction: int, linked_by: str) -> tuple[Ours, float]:
    count, dim = base.shape
    began = time.process_time()
    rows = prepare(base, COSINE)
    floats = quantize.float32_codes(rows, COSINE)
    bytes_ = quantize.int8_codes(count, quantize.train_int8(rows[:5000], COSINE, dim))
    nibbles = quantize.int4_codes(count, quantize.train_int4(rows[:5000], COSINE, dim))
    quantize.encode_int8(rows, 0, count, COSINE, bytes_)
    quantize.encode_int4(rows, 0, count, COSINE, nibbles)
    scratch = new_scratch(count, POOL_MAX, 2 * M, dim)
    codes = bytes_ if linked_by == "int8" else floats
    graph = insert.insert(
        insert.new_graph(M, count), codes, COSINE, count, ef_construction, [scratch]
    )
    return Ours(rows, graph, floats, bytes_, nibbles, scratch), time.process_time() - began


def contender(ours: Ours, form: str, build_s: float) -> Contender:
    codes = getattr(ours, form)

    def at(ef: int) -> Callable[[Any], Any]:
        # 4-bit distances are the coarsest: more of them are given exact scores.
        depth = max(4 * K, ef // 8) if form == "int4" else 2 * K

        def run(queries: Any) -> Any:
            prepared = prepare(queries, COSINE)
            return search.search(
                ours.graph, codes, ours.rows, COSINE, prepared, K, ef, depth, ours.scratch
            )[0]

        return run

    return Contender(f"ours {form}", build_s, at)


def build_hnswlib(base: Any, ef_construction: int) -> Contender | None:
    try:
        import hnswlib
    except ImportError:
        return None
    index = hnswlib.Index("ip", base.shape[1])
    index.init_index(len(base), M=M, ef_construction=ef_construction)
    index.set_num_threads(1)
    build_s = cpu_s(lambda: index.add_items(base, num_threads=1))

    def at(ef: int) -> Callable[[Any], Any]:
        index.set_ef(ef)
        return lambda queries: index.knn_query(queries, K, num_threads=1)[0]

    return Contender("hnswlib", build_s, at)


def build_svs(base: Any, ef_construction: int) -> Contender | None:
    try:
        import svs
    except ImportError:
        return None
    parameters = svs.VamanaBuildParameters(
        alpha=0.95, graph_max_degree=2 * M, window_size=ef_construction
    )
    began = time.process_time()
    index = svs.Vamana.build(parameters, base, svs.DistanceType.MIP, num_threads=1)
    build_s = time.process_time() - began

    def at(ef: int) -> Callable[[Any], Any]:
        index.search_window_size = ef
        return lambda queries: index.search(queries, K)[0]

    return Contender("svs float32", build_s, at)


def climb(contenders: list[Contender], data: Data, rounds: int) -> dict[str, list[Any]]:
    """For each contender (ef, recall, queries a second) up the ladder."""
    points: dict[str, list[Any]] = {one.name: [] for one in contenders}
    for ef in LADDER:
        found = {one.name: one.at(ef)(data.queries) for one in contenders}
        times: dict[str, list[float]] = {one.name: [] for one in contenders}
        for _ in range(rounds):
            for one in contenders:
                run = one.at(ef)
                times[one.name].append(cpu_s(lambda run=run: run(data.queries)))
        for name, ids in found.items():
            qps = len(data.queries) / statistics.median(times[name])
            points[name].append((ef, recall(ids, data.truth), qps))
    return points


def at_recall(points: list[Any], wanted: float) -> float | None:
    """Queries a second at a recall, on a straight line through the logarithms."""
    for (_, low, fast), (_, high, slow) in itertools.pairwise(points):
        if low <= wanted <= high and high > low:
            part = (wanted - low) / (high - low)
            return math.exp(math.log(fast) + part * (math.log(slow) - math.log(fast)))
    return points[0][2] if points and points[0][1] >= wanted else None


def single_query_us(contenders: list[Contender], points: Any, data: Data, rounds: int) -> Any:
    """CPU time of one query a call, at the first step of the ladder with recall 0.95."""
    runs = {}
    for one in contenders:
        ef = next((ef for ef, found, _ in points[one.name] if found >= 0.95), LADDER[-1])
        runs[one.name] = (one.at, ef)
    times: dict[str, list[float]] = {name: [] for name in runs}
    some = [data.queries[i : i + 1] for i in range(min(300, len(data.queries)))]
    for _ in range(rounds):
        for name, (at, ef) in runs.items():
            run = at(ef)
            times[name].append(cpu_s(lambda run=run: [run(query) for query in some]))
    return {name: 1e6 * statistics.median(taken) / len(some) for name, taken in times.items()}


def filters(ours: Ours, data: Data, rounds: int) -> list[dict[str, Any]]:
    """4-bit search of random subsets: by graph and by scan, and the better one's share of speed."""
    queries = prepare(data.queries[:300], COSINE)
    count = len(ours.rows)
    random = np.random.default_rng(1)
    parts = (ours.int4, ours.rows)

    def by_graph(words: Any) -> Any:
        return filtered.search_filtered(
            ours.graph, *parts, COSINE, queries, K, FILTER_EF, 4 * K, ours.scratch, words
        )[0]

    def by_scan(words: Any) -> Any:
        return scan.scan_codes(*parts[:2], count, COSINE, queries, K, 4 * K, ours.scratch, words)[0]

    def free() -> Any:
        return search.search(
            ours.graph, *parts, COSINE, queries, K, FILTER_EF, 4 * K, ours.scratch
        )[0]

    lines = []
    for selectivity in SELECTIVITIES:
        words = np.zeros(-(-count // 64), dtype=np.uint64)
        packed = np.packbits(random.random(count) < selectivity, bitorder="little")
        words.view(np.uint8)[: packed.size] = packed
        allowed = filtered.count_allowed(words, count)
        scanned = filtered.scan_is_cheaper(allowed, count, FILTER_EF, ours.int4.rows.shape[1])
        chosen = by_scan if scanned else by_graph
        exact, _ = scan.scan_rows(ours.rows, count, COSINE, queries, K, words)
        taken: list[list[float]] = [[], []]
        for _ in range(rounds):
            taken[0].append(cpu_s(lambda words=words, chosen=chosen: chosen(words)))
            taken[1].append(cpu_s(free))
        mine, unfiltered = map(statistics.median, taken)
        lines.append(
            {
                "selectivity": selectivity,
                "by": "scan" if scanned else "graph",
                "recall": recall(chosen(words), exact),
                "qps": len(queries) / mine,
                "of_unfiltered": unfiltered / mine,
            }
        )
    return lines


def compare(data: Data, ef_construction: int, rounds: int) -> dict[str, Any]:
    ours, build_s = build_ours(data.base, ef_construction, "int8")
    by_floats, floats_build_s = build_ours(data.base, ef_construction, "float32")
    contenders = [
        contender(ours, "int4", build_s),
        contender(ours, "int8", build_s),
        contender(by_floats, "float32", floats_build_s),
    ]
    for build in (build_hnswlib, build_svs):
        peer = build(data.base, ef_construction)
        if peer is not None:
            contenders.append(peer)
    points = climb(contenders, data, rounds)
    return {
        "ef_construction": ef_construction,
        "build_s": {one.name: one.build_s for one in contenders},
        "ladder": points,
        "qps_at": {
            name: {str(wanted): at_recall(ladder, wanted) for wanted in RECALLS}
            for name, ladder in points.items()
        },
        "single_us": single_query_us(contenders, points, data, rounds),
        "filters": filters(ours, data, rounds),
    }


def show(result: dict[str, Any]) -> None:
    base = "hnswlib" if "hnswlib" in result["build_s"] else next(iter(result["build_s"]))
    print(f"\nM={M} ef_construction={result['ef_construction']} (x: ratio to {base}, CPU time)")
    for name, ladder in result["ladder"].items():
        steps = "  ".join(f"{ef}: {found:.4f} {qps:,.0f}" for ef, found, qps in ladder)
        print(f"{name} ladder, ef: recall QPS   {steps}")
    for name, build_s in result["build_s"].items():
        cells = [f"build {build_s:.1f} s ({build_s / result['build_s'][base]:.2f}x)"]
        for wanted, qps in result["qps_at"][name].items():
            reference = result["qps_at"][base][wanted]
            ratio = f"{qps / reference:.2f}x" if qps and reference else "-"
            cells.append(f"{qps:,.0f} QPS at {wanted} ({ratio})" if qps else f"no {wanted}")
        single = result["single_us"][name]
        cells.append(f"one query {single:.0f} us ({single / result['single_us'][base]:.2f}x)")
        print(f"{name:12}  " + "; ".join(cells))
    for line in result["filters"]:
        print(
            "filter {selectivity:6.1%} by {by:5}: recall {recall:.4f}, {qps:,.0f} QPS, "
            "{of_unfiltered:.2f}x unfiltered".format(**line)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ef-construction", type=int, nargs="+", default=[200])
    parser.add_argument("--out", type=Path, default=None, help="also write the figures as JSON")
    options = parser.parse_args()
    print("kernels: loaded {}, compiled {}, {:.2f} s".format(*warmup.compile_all()))
    data = Data(
        np.load(options.data / "base.npy").astype(np.float32),
        np.load(options.data / "queries.npy")[: options.queries].astype(np.float32),
        np.load(options.data / "gt.npy")[: options.queries, :K],
    )
    results = [compare(data, ef, options.rounds) for ef in options.ef_construction]
    for result in results:
        show(result)
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
