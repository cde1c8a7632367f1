"""The process of one contender: builds it, or opens it and answers what is asked of it.

    python -m bench.scale_parts.worker NAME SET DIRECTORY build|serve

Questions are lines of JSON on standard input, answers lines of JSON on the descriptor that was
standard output; whatever a library prints goes to standard error.
"""

import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.scale_parts import made
from bench.scale_parts.contender import KINDS, Contender

SINGLES = 300
COLD = 100


def main() -> None:
    name, directory, index, what = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    held = made.load(Path(directory))
    try:
        contender = KINDS[name].new()
        if what == "build":
            answer = build(contender, held, Path(index))
        else:
            answer = opened(contender, held, Path(index))
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(answer), file=answers, flush=True)
    if what == "build" or "failed" in answer:
        # Some libraries wait for threads at their end.
        os._exit(0)
    work = Searches(contender, held, Path(index))
    asks: dict[str, Callable[..., Any]] = {
        "run": work.run,
        "single": work.single,
        "cold": work.cold,
        "memory": lambda effort: memory(),
    }
    for line in sys.stdin:
        ask, effort = json.loads(line)
        print(json.dumps(asks[ask](effort)), file=answers, flush=True)
    os._exit(0)


def build(contender: Contender, held: made.Made, directory: Path) -> dict[str, Any]:
    """Build into the directory; what it cost."""
    directory.mkdir(parents=True)
    wall, began = time.monotonic(), time.process_time()
    contender.build(held, directory)
    return {
        "build_s": time.process_time() - began,
        "wall_s": time.monotonic() - wall,
        "build_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "package": contender.package,
        "version": _version(contender.package),
        "settings": contender.settings,
        "on_disk": contender.on_disk,
    }


def opened(contender: Contender, held: made.Made, directory: Path) -> dict[str, Any]:
    """Open it; how long that took, and what may be asked."""
    before = memory()
    began, wall = time.process_time(), time.monotonic()
    contender.open(directory)
    contender.search(held.queries[:1], contender.efforts[0])
    return {
        "open_cpu_s": time.process_time() - began,
        "open_s": time.monotonic() - wall,
        "efforts": [int(each) for each in contender.efforts],
        "before": before,
    }


class Searches:
    """What may be asked of an index that is open; the clock is the CPU's, of all threads."""

    def __init__(self, contender: Contender, held: made.Made, directory: Path) -> None:
        self._contender = contender
        self._held = held
        self._directory = directory
        self._prepare = getattr(contender, "prepare", lambda queries, effort: None)

    def run(self, effort: int) -> dict[str, float]:
        """All queries in one call."""
        queries = self._held.queries
        self._prepare(queries, effort)
        began = time.process_time()
        found = self._contender.search(queries, effort)
        taken = time.process_time() - began
        return {"cpu_s": taken, "recall": recall(found, self._held.truth)}

    def single(self, effort: int) -> dict[str, float]:
        """The median CPU time of a call with one query."""
        taken = []
        for query in self._held.queries[:SINGLES, None]:
            self._prepare(query, effort)
            began = time.process_time()
            self._contender.search(query, effort)
            taken.append(time.process_time() - began)
        return {"single_us": float(np.median(taken)) * 1e6}

    def cold(self, effort: int) -> dict[str, float]:
        """Milliseconds of a query each of which finds none of the files in the page cache.

        What was mapped and touched stays, as it does in a server: all queries are asked before, so
        that codes and ids are there, and what an index reads from its disk is not.
        """
        taken = []
        some = self._held.queries[:COLD, None]
        self.run(effort)
        found = []
        for query in some:
            self._prepare(query, effort)
            forget(self._directory)
            began = time.monotonic()
            found.append(self._contender.search(query, effort)[0])
            taken.append((time.monotonic() - began) * 1e3)
        p50, p95 = np.percentile(taken, (50, 95))
        good = recall(np.array(found), self._held.truth[: len(some)])
        return {"cold_p50_ms": float(p50), "cold_p95_ms": float(p95), "cold_recall": good}


def recall(found: Any, truth: Any) -> float:
    """The part of the true answers that was found."""
    hits = (found[:, :, None] == truth[:, None, :]).any(axis=2).sum()
    return float(hits) / truth.size


def forget(directory: Path) -> None:
    """Drop the pages of all files from the page cache, as far as nobody has them mapped."""
    for path in directory.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def memory() -> dict[str, float]:
    """Bytes of this process: resident in all, and those that are its own and in no file."""
    found = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        found[name] = int(value.split()[0]) * 1024
    return {"resident": found["Rss"], "anonymous": found["Anonymous"]}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    main()
