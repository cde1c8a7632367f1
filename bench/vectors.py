"""How fast and how exact are vector collections, beside other libraries and servers?

DIR holds base.npy [n, dim], queries.npy [q, dim], gt.npy [q, at least 10] (the nearest rows by
cosine) and meta.jsonl.gz (an object a row). The parts, each with its own goals: kernels (indexes in
one process), server (searches over HTTP), load, reopen, filters and churn (recall after updates,
deletes and a restart).
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs

from bench.load import native, options, report
from bench.load.process import PEERS_BIN, ROOT
from bench.vector_parts import data, goals, plots

PARTS = ("kernels", "server", "load", "reopen", "filters", "churn")
HEADS = {
    "qps": "QPS",
    "build_s": "CPU s",
    "bytes_each": "bytes/vector",
    "single_us": "CPU us",
    "operations_per_s": "searches/s",
    "rows_per_s": "rows/s",
    "found_per_s": "rows/s, first search included",
    "indexed_per_s": "rows/s, indexing included",
    "recall": "recall@10",
    "selectivity": "selectivity",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_us": "CPU us",
    "ready_ms": "ready ms",
    "answered_ms": "first search ms",
    "compiled_ms": "compiled ms",
    "anon": "own bytes",
    "mapped": "mapped bytes",
    "reported": "reported bytes",
    "disk": "disk bytes",
    "errors": "errors",
}


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    command.add_argument("--seconds", type=float, default=1.0, help="of one load of a server")
    command.add_argument("--connections", type=options.numbers, default=[1, 8, 64])
    command.add_argument("--queries", type=options.positive, default=1000)
    command.add_argument("--rows", type=options.positive, help="only the first so many, to try")
    command.add_argument(
        "--ef-construction", type=options.numbers, default=[100, 200], help="for kernels"
    )
    command.add_argument("--builds", type=options.positive, default=2, help="of each index")
    command.add_argument("--loads", type=options.positive, default=2, help="of each server")
    command.add_argument("--recall", type=float, default=0.95, help="at which servers are searched")
    command.add_argument("--skip", default="", help="servers to leave out, by a part of their name")
    arguments = command.parse_args()
    wanted = arguments.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        command.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    move_to_the_peers()
    # Compiled before anything is measured; otherwise the first server would begin with it.
    subprocess.run([sys.executable, "-m", "kissvdb", "warmup"], cwd=ROOT, check=True)
    found = data.load(arguments.data, arguments.queries, arguments.rows)
    rows, dim = found.base.shape
    print(f"{rows:,} vectors of {dim} numbers, {len(found.queries)} queries")
    errors = 0
    for part in (each for each in PARTS if each in wanted):
        with options.scratch(arguments.dir, command) as (directory, file_system):
            arguments.directory = directory
            arguments.loader = native.program(
                "closed_loop", directory, python=arguments.python_load
            )
            about = report.machine(directory, file_system)
            print(f"\n{part}", flush=True)
            module = importlib.import_module(f"bench.vector_parts.{part}")
            errors += finish(part, module.run(found, arguments), about, arguments.name)
    return int(errors > 0)


def move_to_the_peers() -> None:
    """Go on with the Python that has the other libraries, if there is one: all are measured in one
    process, ours too."""
    python, name = PEERS_BIN / "python", PEERS_BIN.parent.name
    if not python.exists():
        print(f"skipped: all peers: there is no {name} (bench/README.md)")
    elif Path(sys.executable).parent != PEERS_BIN:
        probe = [str(python), "-c", "import numba, trio, httptools, quart_trio, matplotlib"]
        if subprocess.run(probe, capture_output=True).returncode:
            print(f"skipped: all peers: {name} lacks what is in scripts/requirements.lock")
        else:
            os.execv(python, [str(python), *sys.argv])


def finish(part: str, outcome: Any, about: dict[str, Any], name: str | None) -> int:
    """Print, save and plot a part; answers how many errors there were."""
    cells = outcome.cells
    for metrics in dict.fromkeys(tuple(cell.metrics) for cell in cells):
        same = [cell for cell in cells if tuple(cell.metrics) == metrics]
        report.print_report(same, {metric: HEADS[metric] for metric in metrics})
    report.print_ratios(outcome.found)
    goals.show(outcome.goals)
    content = report.content(
        about=about,
        servers=outcome.servers,
        cells=cells,
        found=outcome.found,
        more={
            **outcome.more,
            "goals": [
                attrs.asdict(goal) | {"wanted": goal.wanted, "verdict": goal.verdict}
                for goal in outcome.goals
            ],
        },
    )
    path = report.RESULTS / f"{name or 'vectors'}.json"
    parts = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(parts | {part: content}, indent=1) + "\n")
    drawn = plots.draw(part, outcome, f"{name or 'vectors'}_{part}")
    print(f"saved {path}" + (f" and {drawn}" if drawn else ""))
    return int(sum(cell.metrics.get("errors", 0) for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
