"""How fast is full text beside tantivy, SQLite's FTS5, bm25s, zvec and qdrant-edge?

Reads DIR/meta.jsonl.gz, a JSON object a line with a `description`, and DIR/queries.jsonl, a JSON
object a line with the `text` of a query. All run in this process (zvec and qdrant-edge keep files
in a temporary folder, and may use threads of their own); every query is put to all of them in turn
before the next one, so that what else the machine does falls on all. Times are milliseconds and
have the parsing of the query in them. A peer that is not installed (`pip install tantivy bm25s
zvec qdrant-edge-py`) is left out, with a line that says so. Our scores are compared with BM25 by
its formula over all rows.
"""

import argparse
import gzip
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# Import from the root instead of from here: the script's directory is not a package of its own.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from bench.load import report
from bench.text_parts import plots
from bench.text_parts.peers import BUILDERS, K, Peer, words_of
from kissvdb.core import bitmaps
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.index import TextIndex, TextView
from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.core.text.settings import FieldSettings, TextSettings

SETTINGS = TextSettings(fields={"text": FieldSettings()}, others=False)
OPTIONS = QueryOptions()
SHARES = {"any of the words": None, "of 10% of the rows": 10, "of 1% of the rows": 1}
ADDED = 20
FINDABLE = {"findable": True, "findable, each engine by itself": False}

Run = Callable[[str], Any]


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--queries", type=int, default=300)
    command.add_argument("--rows", type=int, default=10**9)
    command.add_argument("--name", default="text", help="of the results")
    arguments = command.parse_args()
    about = report.machine(Path(), "a temporary folder")
    with gzip.open(arguments.data / "meta.jsonl.gz", "rt") as lines:
        texts = [json.loads(line)["description"] for line in lines][: arguments.rows]
    with (arguments.data / "queries.jsonl").open() as lines:
        queries = [json.loads(line)["text"] for line in lines][: arguments.queries]
    # Not a bucket each in turn: neighbours are alike.
    buckets = np.random.default_rng(1).integers(0, 100, len(texts)).tolist()
    results: dict[str, Any] = {"rows": len(texts), "queries": len(queries)}
    kernels = Kernels()
    kernels.load()
    index, built = ours(texts, kernels)
    engines, peers_built = peers(texts, buckets)
    results["build"] = [built, *peers_built]
    view = index.view()
    times = {}
    for kind, below in SHARES.items():
        cases: dict[str, Run] = {"kissvdb": searcher(view, allowed(buckets, below))}
        if below is None:
            cases |= parted(texts, kernels)
        cases |= {name: partial(peer_search, peer, below) for name, peer in engines.items()}
        times[kind] = interleaved(cases, queries)
        results[kind] = told(times[kind])
    for kind, in_turn in FINDABLE.items():
        results[kind] = findable(index, texts, engines, in_turn=in_turn)
    results["opened again"] = opened(index.view(), kernels)
    results["greatest error"] = error(view, texts, queries[:40])
    for name in ("build", *SHARES, *FINDABLE):
        print(name)
        heads = list(dict.fromkeys(head for line in results[name] for head in line))
        report.print_table([[line.get(head) for head in heads] for line in results[name]], heads)
    print({name: results[name] for name in ("opened again", "greatest error")})
    path = report.RESULTS / f"{arguments.name}.json"
    path.write_text(json.dumps({"about": about, **results}, indent=1) + "\n")
    print(path, plots.shares(arguments.name, times))
    return 0


def ours(texts: Sequence[str], kernels: Kernels) -> tuple[TextIndex, dict[str, Any]]:
    began = time.perf_counter()
    index = TextIndex(SETTINGS, kernels)
    for first in range(0, len(texts), 4096):
        index.extend(first, [[("text", text)] for text in texts[first : first + 4096]])
        while (due := index.merge_due()) is not None:
            index.install(due, index.merge(due))
    index.settle()
    seconds = time.perf_counter() - began
    size = sum(array.nbytes for array in index.view().to_arrays().values())
    return index, {"engine": "kissvdb", "build s": seconds, "MB": size / 1e6}


def searcher(view: TextView, allow: Any = None) -> Run:
    return lambda text: view.search(parse(text, OPTIONS), K, allow)


def allowed(buckets: Sequence[int], below: int | None) -> Any:
    return None if below is None else bitmaps.pack(np.array(buckets) < below)


def peer_search(peer: Peer, below: int | None, text: str) -> list[int]:
    return peer.search(text, below)


def parted(texts: Sequence[str], kernels: Kernels) -> dict[str, Run]:
    """The same texts in eight segments, of whose rows a tenth is deleted."""
    parts = TextIndex(SETTINGS, kernels)
    size = -(-len(texts) // 8)
    for first in range(0, len(texts), size):
        # Not in pieces: the index makes one segment of what comes at once, up to 4,096 rows.
        for start in range(first, min(first + size, len(texts)), 4096):
            stop = min(start + 4096, first + size, len(texts))
            parts.extend(start, [[("text", text)] for text in texts[start:stop]])
        young = tuple(each for each in parts._state.segments if each.row_count <= 4096)
        parts.install(young, parts.merge(young))
    count = len(parts._state.segments)
    living = bitmaps.pack(np.random.default_rng(2).random(len(texts)) >= 0.1)
    return {f"kissvdb, {count} segments, 10% deleted": searcher(parts.view(), living)}


def peers(
    texts: Sequence[str], buckets: Sequence[int]
) -> tuple[dict[str, Peer], list[dict[str, Any]]]:
    engines: dict[str, Peer] = {}
    built = []
    for name, build in BUILDERS.items():
        began = time.perf_counter()
        try:
            engines[name] = build(texts, buckets)
        except ImportError as missing:
            print(f"{name} is left out: {missing}")
            continue
        seconds = time.perf_counter() - began
        built.append({"engine": name, "build s": seconds, "MB": engines[name].megabytes})
    return engines, built


def interleaved(cases: dict[str, Run], queries: Sequence[str]) -> dict[str, list[float]]:
    """The milliseconds of each query, for each of the cases."""
    for run in cases.values():
        for text in queries[:10]:
            run(text)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number, text in enumerate(queries):
        names = list(cases)
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            began = time.perf_counter()
            cases[name](text)
            times[name].append((time.perf_counter() - began) * 1e3)
    return times


def told(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    base = np.median(times.get("tantivy en_stem", times["kissvdb"]))
    return [
        {
            "engine": name,
            "p50 ms": float(np.median(taken)),
            "p95 ms": float(np.percentile(taken, 95)),
            "p99 ms": float(np.percentile(taken, 99)),
            "least ms": min(taken),
            "p50 of tantivy en_stem": float(np.median(taken) / base),
        }
        for name, taken in times.items()
    ]


def findable(
    index: TextIndex,
    texts: Sequence[str],
    engines: dict[str, Peer],
    *,
    in_turn: bool,
) -> list[dict[str, Any]]:
    """From a new document to the first search that finds it: engine by engine in turn, or each
    ADDED times in a row; and of that until a search may begin that must find it."""
    names = ["kissvdb", *(name for name in engines if engines[name].add is not None)]
    order = [(number, name) for number in range(ADDED) for name in names]
    if not in_turn:
        order.sort(key=lambda each: names.index(each[1]))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number, name in order:
        word = f"zq{number}{'t' if in_turn else 'r'}"
        row, text = index.row_count, f"findable {word} {texts[number]}"
        began = time.perf_counter()
        if name == "kissvdb":
            index.extend(row, [[("text", text)]])
            view = index.view()
            added = time.perf_counter()
            hits = view.search(parse(word, OPTIONS), 1).rows.tolist()
        else:
            peer = engines[name]
            assert peer.add is not None
            peer.add(len(texts) + len(times[name]) + (0 if in_turn else ADDED), text, 0)
            added = time.perf_counter()
            hits = peer.search(word, None)
        times[name].append(((added - began) * 1e3, (time.perf_counter() - began) * 1e3))
        # Tantivy numbers documents by segment.
        if len(hits) != 1 or (name == "kissvdb" and hits != [row]):
            raise AssertionError(f"{name} does not find what was added: {hits}")
    return [
        {
            "engine": name,
            "p50 ms": float(np.median(taken, axis=0)[1]),
            "least ms": float(np.min(taken, axis=0)[1]),
            "of which adding: p50": float(np.median(taken, axis=0)[0]),
            "least": float(np.min(taken, axis=0)[0]),
        }
        for name, taken in times.items()
    ]


def opened(view: TextView, kernels: Kernels) -> dict[str, float]:
    """Milliseconds to open the arrays of an index, and to the first answer."""
    arrays = view.to_arrays()
    began = time.perf_counter()
    index = TextIndex.from_arrays(arrays, SETTINGS, kernels)
    ready = time.perf_counter()
    index.view().search(parse("database server", OPTIONS), K)
    return {
        "open ms": (ready - began) * 1e3,
        "first answer ms": (time.perf_counter() - began) * 1e3,
    }


def error(view: TextView, texts: Sequence[str], queries: Sequence[str]) -> float:
    """The greatest relative difference of a score of the best ten from BM25 by its formula, over
    all rows; an answer that is not the formula's ends the bench."""
    analyzer = Analyzer(SETTINGS.fields["text"])
    rows = [Counter(analyzer.tokens(text)) for text in texts]
    lengths = [row.total() for row in rows]
    count = sum(length > 0 for length in lengths)
    average = sum(lengths) / count
    k1, b = SETTINGS.k1, SETTINGS.b
    worst = 0.0
    for text in queries:
        # Without what the query language reads as operators.
        text = " ".join(words_of(text))
        words = Counter(analyzer.tokens(text))
        scores = dict.fromkeys(range(len(rows)), 0.0)
        for word, weight in words.items():
            having = [row for row, terms in enumerate(rows) if word in terms]
            idf = math.log(1 + (count - len(having) + 0.5) / (len(having) + 0.5))
            for row in having:
                tf = rows[row][word]
                norm = k1 * (1 - b + b * lengths[row] / average)
                scores[row] += weight * idf * tf / (tf + norm)
        hits = view.search(parse(text, OPTIONS), K)
        best = sorted(scores.values(), reverse=True)[: len(hits.rows)]
        for row, score, want in zip(hits.rows.tolist(), hits.scores, best, strict=True):
            worst = max(worst, abs(score / want - 1), abs(score / scores[row] - 1))
    if worst > 1e-9:
        raise AssertionError(f"a score is {worst:.3g} away from BM25 by its formula")
    return worst


if __name__ == "__main__":
    sys.exit(main())
