"""How fast is full text beside tantivy, SQLite's FTS5 and bm25s, and are its scores BM25's?

Reads DIR/meta.jsonl.gz, a JSON object a line with a `description`, and DIR/queries.jsonl, a JSON
object a line with the `text` of a query. All run in this process, on one thread, in memory; every
query is put to all of them in turn before the next one, so that what else the machine does falls on
all. Times are milliseconds and have the parsing of the query in them. A peer that is not installed
(`pip install tantivy bm25s`) is left out, with a line that says so.
"""

import argparse
import gzip
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Import from the root instead of from here: the script's directory is not a package of its own.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import apsw
import numpy as np

from bench.load import report
from kissvdb.core import bitmaps
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.index import TextIndex, TextView
from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.core.text.settings import FieldSettings, TextSettings

K = 10
SETTINGS = TextSettings(fields={"text": FieldSettings()}, others=False)
OPTIONS = QueryOptions()
WORD = re.compile("[a-z0-9]+")

Search = Callable[[str], Any]


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--queries", type=int, default=300)
    command.add_argument("--rows", type=int, default=10**9)
    command.add_argument("--name", default="text", help="of the results")
    arguments = command.parse_args()
    about = report.machine(Path(), "not used")
    with gzip.open(arguments.data / "meta.jsonl.gz", "rt") as lines:
        texts = [json.loads(line)["description"] for line in lines][: arguments.rows]
    with (arguments.data / "queries.jsonl").open() as lines:
        queries = [json.loads(line)["text"] for line in lines][: arguments.queries]
    results: dict[str, Any] = {"rows": len(texts), "queries": len(queries)}
    kernels = Kernels()
    kernels.load()
    index, built = ours(texts, kernels)
    engines, results["build"] = peers(texts)
    results["build"] = [built, *results["build"]]
    view = index.view()
    cases = {"kissvdb": searcher(view), **{f"kissvdb, {name}": run for name, run in
             variants(texts, kernels, view).items()}, **engines}  # fmt: skip
    results["or top 10"] = interleaved(cases, queries)
    results["findable"] = findable(index, texts)
    results["opened again"] = opened(index.view(), kernels)
    results["greatest error"] = error(view, texts, queries[:40])
    for name in ("build", "or top 10", "findable"):
        heads = list(dict.fromkeys(head for line in results[name] for head in line))
        report.print_table([[line.get(head) for head in heads] for line in results[name]], heads)
    print({name: results[name] for name in ("opened again", "greatest error")})
    path = report.RESULTS / f"{arguments.name}.json"
    path.write_text(json.dumps({"about": about, **results}, indent=1) + "\n")
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


def searcher(view: TextView, allow: Any = None) -> Search:
    return lambda text: view.search(parse(text, OPTIONS), K, allow)


def variants(texts: Sequence[str], kernels: Kernels, view: TextView) -> dict[str, Search]:
    """Filters on one segment; and eight segments, of whose rows a tenth is deleted."""
    rng = np.random.default_rng(1)
    made: dict[str, Search] = {}
    for share in (0.01, 0.1):
        made[f"filter {share:.0%}"] = searcher(view, bitmaps.pack(rng.random(len(texts)) < share))
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
    living = bitmaps.pack(rng.random(len(texts)) >= 0.1)
    made[f"{count} segments, 10% deleted"] = searcher(parts.view(), living)
    return made


def peers(texts: Sequence[str]) -> tuple[dict[str, Search], list[dict[str, Any]]]:
    engines: dict[str, Search] = {}
    built = []
    builders: list[tuple[str, Callable[[Sequence[str]], tuple[Search, float | None]]]] = [
        ("tantivy default", lambda texts: tantivy_index(texts, "default")),
        ("tantivy en_stem", lambda texts: tantivy_index(texts, "en_stem")),
        ("FTS5", fts5_index),
        ("bm25s", bm25s_index),
    ]
    for name, build in builders:
        began = time.perf_counter()
        try:
            engines[name], size = build(texts)
        except ImportError as missing:
            print(f"{name} is left out: {missing}")
            continue
        built.append({"engine": name, "build s": time.perf_counter() - began, "MB": size})
    return engines, built


def tantivy_writer(texts: Sequence[str], tokenizer: str) -> tuple[Any, Any, Any]:
    import tantivy

    schema = tantivy.SchemaBuilder()
    schema.add_text_field("text", stored=False, tokenizer_name=tokenizer)
    index = tantivy.Index(schema.build())
    writer = index.writer(heap_size=200_000_000, num_threads=1)
    for text in texts:
        writer.add_document(tantivy.Document(text=text))
    writer.commit()
    index.reload()
    return tantivy, index, writer


def tantivy_index(texts: Sequence[str], tokenizer: str) -> tuple[Search, float | None]:
    _, index, _ = tantivy_writer(texts, tokenizer)
    searcher = index.searcher()

    def search(text: str) -> Any:
        query = index.parse_query(" ".join(WORD.findall(text.lower())), ["text"])
        return searcher.search(query, K, count=False).hits

    return search, None


def fts5_index(texts: Sequence[str]) -> tuple[Search, float | None]:
    connection = apsw.Connection(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE t USING fts5(text, content='', tokenize='porter unicode61')"
    )
    with connection:
        connection.executemany(
            "INSERT INTO t (rowid, text) VALUES (?, ?)", list(enumerate(texts, 1))
        )
    size = connection.execute("SELECT sum(length(block)) FROM t_data").fetchone()

    def search(text: str) -> Any:
        query = " OR ".join(f'"{word}"' for word in WORD.findall(text.lower()))
        asked = "SELECT rowid, rank FROM t WHERE t MATCH ? ORDER BY rank LIMIT 10"
        return connection.execute(asked, (query,)).fetchall()

    return search, size[0] / 1e6


def bm25s_index(texts: Sequence[str]) -> tuple[Search, float | None]:
    import bm25s

    analyzer = Analyzer(SETTINGS.fields["text"])
    index = bm25s.BM25(method="lucene", k1=SETTINGS.k1, b=SETTINGS.b)
    index.index([analyzer.tokens(text) for text in texts], show_progress=False)
    known = index.vocab_dict

    def search(text: str) -> Any:
        tokens = [word for word in analyzer.tokens(text) if word in known]
        return index.retrieve([tokens], k=K, show_progress=False, n_threads=0) if tokens else None

    return search, None


def interleaved(cases: dict[str, Search], queries: Sequence[str]) -> list[dict[str, Any]]:
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
    base = np.median(times.get("tantivy en_stem", times["kissvdb"]))
    return [
        {
            "engine": name,
            "p50 ms": float(np.median(taken)),
            "p95 ms": float(np.percentile(taken, 95)),
            "p50 of tantivy en_stem": float(np.median(taken) / base),
        }
        for name, taken in times.items()
    ]


def findable(index: TextIndex, texts: Sequence[str]) -> list[dict[str, Any]]:
    """From a new document to the first search that finds it: median of twenty."""
    times = []
    for number in range(20):
        began = time.perf_counter()
        index.extend(index.row_count, [[("text", f"findable zq{number} {texts[number]}")]])
        hits = index.view().search(parse(f"zq{number}", OPTIONS), 1)
        times.append((time.perf_counter() - began) * 1e3)
        assert hits.rows.tolist() == [index.row_count - 1]
    found = [{"engine": "kissvdb", "p50 ms": float(np.median(times))}]
    try:
        tantivy, peer, writer = tantivy_writer(texts, "en_stem")
    except ImportError:
        return found
    times = []
    for number in range(20):
        began = time.perf_counter()
        writer.add_document(tantivy.Document(text=f"findable zq{number} {texts[number]}"))
        writer.commit()
        peer.reload()
        hits = peer.searcher().search(peer.parse_query(f"zq{number}", ["text"]), 1).hits
        times.append((time.perf_counter() - began) * 1e3)
        assert len(hits) == 1
    return [*found, {"engine": "tantivy en_stem", "p50 ms": float(np.median(times))}]


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
        text = " ".join(WORD.findall(text.lower()))
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
