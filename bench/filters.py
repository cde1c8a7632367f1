"""What does the metadata index cost, and how long does it take to answer a filter?

Reads DIR/meta.jsonl.gz, one JSON object a line: the Debian package set of the vector benches.
Building is in microseconds of CPU a row; a filter in microseconds for the bitmap of all rows,
median and best; ``scan`` is the same filter evaluated document by document.
"""

import argparse
import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Import from the root instead of from here: the script's directory is not a package of its own.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import numpy as np

from bench.load import report
from kissvdb.core.filters import parse as filters
from kissvdb.core.metadata.index import MetadataIndex, MetadataView

TEXTS = ("synopsis", "description")
BATCHES = (256, 4096, 10**9)
QUESTIONS: dict[str, Any] = {
    "section == python": {"section": "python"},
    "maintainer_team ==": {"maintainer_team": "Debian Perl Group"},
    "id == (unique)": {"id": "mypy-protobuf"},
    "tags contains": {"tags": {"$contains": "implemented-in::perl"}},
    "size 100..1000": {"installed_size_kb": {"$gte": 100, "$lt": 1000}},
    "version prefix": {"version": {"$prefix": "1.4"}},
    "section in 3": {"section": {"$in": ["python", "perl", "libs"]}},
    "homepage is null": {"homepage_host": None},
    "not section": {"section": {"$ne": "python"}},
    "section, size": {"section": "python", "installed_size_kb": {"$gt": 500}},
    "section, size, tag": {
        "section": "python",
        "installed_size_kb": {"$gt": 500},
        "tags": {"$contains": "role::shared-lib"},
    },
    "section or (team, size)": {
        "$or": [
            {"section": "python"},
            {"maintainer_team": "Debian Perl Group", "installed_size_kb": {"$lt": 50}},
        ]
    },
    "whole array ==": {"tags": ["implemented-in::perl", "role::program"]},
}


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--rounds", type=int, default=30, help="of every filter")
    arguments = command.parse_args()
    with gzip.open(arguments.data / "meta.jsonl.gz") as file:
        lines = file.read().splitlines()
    about = report.machine(arguments.data, "not used")
    documents = [msgspec.json.decode(line) for line in lines]
    lean = [{key: one[key] for key in one if key not in TEXTS} for one in documents]
    print(f"{len(lines):,} rows\n")
    sets = {"all fields": documents, "without texts": lean}
    builds = [built(name, rows, size) for name, rows in sets.items() for size in BATCHES]
    report.print_table([list(build.values()) for build in builds], list(builds[0]))
    stores = [stored(name, rows) for name, rows in sets.items()]
    report.print_table([list(store.values()) for store in stores], list(stores[0]))
    asked = answers(documents, lines, arguments.rounds)
    report.print_table([list(answer.values()) for answer in asked], list(asked[0]))
    path = report.RESULTS / "filters.json"
    content = {"about": about, "rows": len(lines), "build": builds, "store": stores}
    path.write_text(json.dumps(content | {"filters": asked}, indent=1) + "\n")
    print(f"saved {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 0


def filled(documents: Sequence[Any], batch_rows: int) -> tuple[MetadataIndex, float]:
    """An index of all documents, and the CPU time of its slowest batch, in ms."""
    index, slowest = MetadataIndex(), 0.0
    for first in range(0, len(documents), batch_rows):
        start = time.process_time()
        index.extend(first, documents[first : first + batch_rows])
        slowest = max(slowest, time.process_time() - start)
    return index, slowest * 1e3


def built(name: str, documents: Sequence[Any], batch_rows: int) -> dict[str, Any]:
    """Add all rows in batches, then do the merges that are left to the owner's thread."""
    start = time.process_time()
    index, slowest_ms = filled(documents, min(batch_rows, len(documents)))
    added = time.process_time()
    index.settle()
    settled = time.process_time()
    each = 1e6 / len(documents)
    return {
        "documents": name,
        "batch rows": min(batch_rows, len(documents)),
        "add us/row": (added - start) * each,
        "merge us/row": (settled - added) * each,
        "slowest add CPU ms": slowest_ms,
    }


def stored(name: str, documents: Sequence[Any]) -> dict[str, Any]:
    """Size, opening, and a vacuum that keeps every third row."""
    index, _ = filled(documents, 4096)
    index.settle()
    view = index.view()
    arrays = view.to_arrays()
    keep = np.arange(0, len(documents), 3)
    return {
        "documents": name,
        "bytes/row": sum(array.nbytes for array in arrays.values()) / len(documents),
        "store ms": median_us(view.to_arrays, 5) / 1e3,
        "open ms": median_us(lambda: MetadataIndex.from_arrays(arrays), 20) / 1e3,
        "vacuum us/row": median_us(lambda: view.remap(keep), 3) / len(keep),
    }


def answers(documents: Sequence[Any], lines: Sequence[bytes], rounds: int) -> list[dict[str, Any]]:
    """Every filter on one segment, on an index as it grows, and by a scan."""
    settled, _ = filled(documents, 4096)
    settled.settle()
    # A number of rows that leaves a tail; the owner's merges are done as they come due.
    growing, rows = MetadataIndex(), len(documents) - 77
    for first in range(0, rows, 100):
        growing.extend(first, documents[first : min(first + 100, rows)])
        while (due := growing.merge_due()) is not None:
            growing.install(due, growing.merge(due))
    return [
        answer(name, raw, (settled.view(), growing.view()), documents, lines, rounds)
        for name, raw in QUESTIONS.items()
    ]


def answer(
    name: str,
    raw: Any,
    views: tuple[MetadataView, MetadataView],
    documents: Sequence[Any],
    lines: Sequence[bytes],
    rounds: int,
) -> dict[str, Any]:
    tree = filters.parse(raw)
    decoded = 0

    def document_at(row: int) -> Any:
        nonlocal decoded
        decoded += 1
        return msgspec.json.decode(lines[row])

    start = time.perf_counter()
    expected = sum(filters.matches(tree, document) for document in documents)
    scan_us = (time.perf_counter() - start) * 1e6
    settled, growing = views
    found = settled.count(tree, document_at)
    if found != expected:
        raise AssertionError(f"{name}: the index finds {found} rows, the scan {expected}")
    return {
        "filter": name,
        "rows": found,
        "documents read": decoded,
        "one segment us": median_us(lambda: settled.bitmap(tree, document_at), rounds),
        "growing us": median_us(lambda: growing.bitmap(tree, document_at), rounds),
        "scan us": scan_us,
        "scan us/row": scan_us / len(documents),
    }


def median_us(run: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    sys.exit(main())
