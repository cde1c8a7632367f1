"""How often does a search find what was meant: by text, by vector, by both, with typos?

DIR holds `meta.jsonl.gz` (a JSON object a row, with `description`), `base.npy` [n, dim] (a vector
of each, of length 1), `queries.jsonl` (`text`, and `target_row`, the one row that was meant) and
`queries.npy`. Of the target's rank r, MRR@100 is the mean of 1 / r (0 beyond 100), R@1 and R@10 are
how many are among the first. Vector search here is exact, so what an index leaves out is not in it.

BM25's k1 and b are chosen on one half of the queries and judged on the other, both ways. Typos: one
random edit (a letter left out, put in, replaced, or two swapped) inside the rarest word of a query.
"""

import argparse
import gzip
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Import from the root instead of from here: the script's directory is not a package of its own.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import numpy as np
import numpy.typing as npt

from bench.load import report
from kissvdb.core.fusion import Fusion, fuse
from kissvdb.core.postings import compiled
from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.fields import TEXT_FIELD
from kissvdb.core.text.index import TextIndex, TextView
from kissvdb.core.text.query import QueryOptions, TextQuery, parse
from kissvdb.core.text.settings import TextSettings
from kissvdb.core.text.typos import corrections

Array = npt.NDArray[Any]
Row = dict[str, Any]

DEPTH = 100
PARAMETERS = [(k1, b) for k1 in (0.4, 0.6, 0.9, 1.2) for b in (0.5, 0.75)]
FUSIONS = {
    "sum, text 0.4": Fusion(text=0.4),
    "sum, text 0.5": Fusion(),
    "sum, text 0.6": Fusion(text=0.6),
    "rrf, k 60": Fusion("rrf"),
    "rrf, k 10": Fusion("rrf", k=10),
}
KERNELS = SimpleNamespace(text=compiled)
"""What a server searches with once it is warm."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DAMAGED_LETTERS_MIN = 4


@attrs.frozen
class Data:
    """The queries with the row each means, the vectors of both, and the index of the texts."""

    queries: list[TextQuery]
    texts: list[str]
    targets: list[int]
    vectors: Array
    base: Array
    index: TextIndex

    def view(self, **settings: float) -> TextView:
        """The same index under other parameters of BM25."""
        arrays = self.index.view().to_arrays()
        other = attrs.evolve(self.index.settings, **settings)
        return TextIndex.from_arrays(arrays, other, KERNELS).view()


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--queries", type=int, default=2000, help="the first so many")
    command.add_argument("--only", default="text,hybrid,typos", help="parts, by name")
    arguments = command.parse_args()
    about = report.machine(arguments.data, "not used")
    data = read(arguments.data, arguments.queries)
    path = report.RESULTS / "search_quality.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    content["about"] = about
    parts: dict[str, Callable[[Data], list[Row]]] = {
        "text": by_text,
        "hybrid": by_both,
        "typos": with_typos,
    }
    for name in arguments.only.split(","):
        rows = parts[name](data)
        print(f"\n{name}, {len(data.queries):,} queries")
        report.print_table([list(row.values()) for row in rows], list(rows[0]))
        content[name] = rows
    path.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def read(directory: Path, count: int) -> Data:
    with gzip.open(directory / "meta.jsonl.gz") as file:
        texts = [json.loads(line)["description"] for line in file]
    asked = [json.loads(line) for line in (directory / "queries.jsonl").open()][:count]
    index = TextIndex(TextSettings(), KERNELS)
    started = time.perf_counter()
    index.extend(0, [[(TEXT_FIELD, text)] for text in texts])
    index.settle()
    print(f"{len(texts):,} texts indexed in {time.perf_counter() - started:.1f} s")
    return Data(
        [parse(each["text"], QueryOptions()) for each in asked],
        [each["text"] for each in asked],
        [each["target_row"] for each in asked],
        np.load(directory / "queries.npy")[:count].astype(np.float32),
        np.load(directory / "base.npy").astype(np.float32),
        index,
    )


def figures(ranks: Iterable[int]) -> Row:
    """``ranks``: 1 is the best, 0 is not found."""
    found = np.array(list(ranks))
    reciprocal = np.where((found > 0) & (found <= DEPTH), 1 / np.maximum(found, 1), 0.0)
    among = [float(((found > 0) & (found <= first)).mean()) for first in (1, 10)]
    return {
        "R@1": round(among[0], 3),
        "R@10": round(among[1], 3),
        "MRR@100": round(float(reciprocal.mean()), 4),
    }


def rank(rows: Array, target: int) -> int:
    """The place of the target among the rows found; 0 if it is not among them."""
    places = np.flatnonzero(rows == target)
    return int(places[0]) + 1 if len(places) else 0


def ranks_of(view: TextView, queries: Sequence[TextQuery], targets: Sequence[int]) -> list[int]:
    return [
        rank(view.search(query, DEPTH).rows, target)
        for query, target in zip(queries, targets, strict=True)
    ]


def by_text(data: Data) -> list[Row]:
    """Every pair of parameters on all queries; then each half's choice on the other half."""
    found = {}
    for k1, b in PARAMETERS:
        found[k1, b] = np.array(ranks_of(data.view(k1=k1, b=b), data.queries, data.targets))
    rows = [{"k1, b": f"{k1}, {b}", **figures(ranks)} for (k1, b), ranks in found.items()]
    half = np.arange(len(data.queries)) % 2
    for chosen_on in (0, 1):
        best = max(found, key=lambda pair: figures(found[pair][half == chosen_on])["MRR@100"])
        name = f"{best[0]}, {best[1]}, chosen on the other half"
        rows.append({"k1, b": name, **figures(found[best][half != chosen_on])})
    return rows


def best_rows(scores: Array, count: int) -> Array:
    """The rows of the highest scores, best first, ties by lower row."""
    few = np.argpartition(-scores, count)[:count]
    return few[np.lexsort((few, -scores[few]))]


def by_both(data: Data) -> list[Row]:
    """Text and vector alone, and the orders that fusions make of the best 100 of each."""
    view = data.index.view()
    ranks: dict[str, list[int]] = {"text": [], "vector": [], **{name: [] for name in FUSIONS}}
    for query, vector, target in zip(data.queries, data.vectors, data.targets, strict=True):
        cosines = data.base @ vector
        by_words = view.search(query, DEPTH).rows
        by_vector = best_rows(cosines, DEPTH)
        ranks["text"].append(rank(by_words, target))
        ranks["vector"].append(rank(by_vector, target))
        rows = np.union1d(by_words, by_vector)
        texts, ceiling = view.score(query, rows), view.ceiling(query)
        for name, fusion in FUSIONS.items():
            fused = fuse(fusion, texts, cosines[rows].astype(np.float64), ceiling, "cosine")
            ranks[name].append(rank(rows[fused.order], target))
    return [{"by": name, **figures(each)} for name, each in ranks.items()]


def with_typos(data: Data) -> list[Row]:
    """The queries as they are, with a typo each, and with that corrected."""
    view = data.index.view()
    analyzers = {TEXT_FIELD: Analyzer(view.settings.default)}
    chance = random.Random(7)
    clean, damaged, targets = [], [], []
    for text, target in zip(data.texts, data.targets, strict=True):
        typo = with_typo(text, view, chance)
        if typo is not None:
            clean.append(parse(text, QueryOptions()))
            damaged.append(parse(typo, QueryOptions()))
            targets.append(target)
    started = time.perf_counter()
    corrected = [query.corrected(corrections(query, view, analyzers)) for query in damaged]
    spent_ms = (time.perf_counter() - started) * 1000 / len(damaged)
    rows = [
        {"queries": name, **figures(ranks_of(view, queries, targets))}
        for name, queries in (("clean", clean), ("typo", damaged), ("corrected", corrected))
    ]
    untouched, lost, won = (row["MRR@100"] for row in rows)
    print(f"recovered {(won - lost) / (untouched - lost):.1%} of the MRR lost")
    print(f"{spent_ms:.2f} ms a query to correct it")
    return rows


def with_typo(text: str, view: TextView, chance: random.Random) -> str | None:
    """The text with one edit inside its rarest word; None without a word to damage."""
    words = [
        word
        for word in re.findall("[A-Za-z]+", text)
        if len(word) >= DAMAGED_LETTERS_MIN and view.rows_with(TEXT_FIELD, word.lower())
    ]
    if not words:
        return None
    word = min(words, key=lambda each: view.rows_with(TEXT_FIELD, each.lower()))
    at, kind = chance.randrange(1, len(word) - 1), chance.randrange(4)
    edits = (
        word[:at] + word[at + 1 :],
        word[:at] + chance.choice(LETTERS) + word[at:],
        word[:at] + chance.choice(LETTERS) + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    return text.replace(word, edits[kind], 1)


if __name__ == "__main__":
    sys.exit(main())
