"""What was measured, as goals, tables on the screen, a file of results and a plot."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from bench.load import report
from bench.load.report import Cell
from bench.scale_parts.climb import Climber
from bench.scale_parts.contender import KINDS
from bench.vector_parts import plots
from bench.vector_parts.goals import Goal, ratio
from bench.vector_parts.goals import show as show_goals
from bench.vector_parts.outcome import Outcome

OURS = tuple(name for name, kind in KINDS.items() if kind.ours)
BUILD_FACTS = ("build_s", "disk_bytes_each", "build_peak")
OPEN_FACTS = ("resident", "anonymous", "open_s")


def outcome(
    climbers: Sequence[Climber], cells: list[Cell], missing: Mapping[str, str], rows: int
) -> Outcome:
    """All of one comparison."""
    found = [
        each
        for metric in ("qps", "single_us", "cold_p50_ms")
        for each in report.ratios([c for c in cells if metric in c.metrics], OURS, metric)
    ]
    facts = {
        one.name: {
            **{name: one.index.facts[name] for name in BUILD_FACTS},
            **{name: one.facts[name] for name in OPEN_FACTS},
            "settings": one.index.facts["settings"],
            "version": f"{one.index.facts['package']} {one.index.facts['version']}",
        }
        for one in climbers
    }
    more = {
        "rows": rows,
        "facts": facts,
        "missing": dict(missing),
        "ladders": {
            one.name: [(s.ef, s.recall, statistics.median(s.qps)) for s in one.steps]
            for one in climbers
        },
    }
    return Outcome(cells, _goals(found, facts, cells), found, more=more)


def _goals(
    found: Sequence[report.Ratio], facts: Mapping[str, Mapping[str, Any]], cells: Sequence[Cell]
) -> list[Goal]:
    medians = {
        (place.group, place.target): metrics for place, metrics in report.medians(cells).items()
    }
    hnsw, ivf, vamana, lib = "ours hnsw", "ours ivf", "ours vamana", "hnswlib"
    goals = []
    for wanted in ("0.95", "0.99"):
        at = f"recall {wanted}"
        goals.append(Goal(f"QPS at {wanted}: {hnsw} / {lib}", ratio(found, at, hnsw, lib), 4.0))
        best = [e.median for e in found if (e.metric, e.group, e.ours) == ("qps", at, hnsw)]
        goals.append(Goal(f"QPS at {wanted}: {hnsw} / the best peer", min(best, default=None), 1.3))
    goals.append(Goal(f"QPS at 0.95: {ivf} / {lib}", ratio(found, "recall 0.95", ivf, lib), 2.0))
    build = None
    if ivf in facts and lib in facts:
        build = facts[ivf]["build_s"] / facts[lib]["build_s"]
    goals.append(Goal(f"CPU time to build: {ivf} / {lib}", build, most=0.25))
    cold = medians.get(("cold at 0.95", vamana), {}).get("cold_p50_ms")
    goals.append(Goal(f"{vamana}, cold, p50 in ms at recall 0.95", cold, most=3.0))
    own = facts.get(vamana, {}).get("anonymous")
    goals.append(Goal(f"{vamana}, own memory in MB", own and own / 1e6, most=400.0))
    disk = ratio(found, "recall 0.95", vamana, "zvec diskann")
    goals.append(Goal(f"QPS at 0.95, warm: {vamana} / zvec diskann", disk, 1.0))
    return goals


def show(found: Outcome) -> None:
    """Print it all."""
    for metric, head in (("qps", "QPS"), ("single_us", "CPU us"), ("cold_p50_ms", "cold p50 ms")):
        cells = [cell for cell in found.cells if metric in cell.metrics]
        report.print_report(cells, {metric: head})
    names = (*BUILD_FACTS, *OPEN_FACTS)
    rows = [
        (name, facts["settings"][:40], *(float(facts[each]) for each in names))
        for name, facts in found.more["facts"].items()
    ]
    report.print_table(rows, ["index", "settings", *names])
    for name, why in found.more["missing"].items():
        print(f"missing: {name}: {why}")
    report.print_ratios([each for each in found.found if each.metric == "qps"])
    show_goals(found.goals)


def save(found: Outcome, about: Mapping[str, Any], name: str, part: str = "search") -> None:
    """Put a part into the file of results, beside the others, and draw it."""
    written = report.content(
        about=about,
        servers=found.servers,
        cells=found.cells,
        found=found.found,
        more={
            **found.more,
            "goals": [
                attrs.asdict(goal) | {"wanted": goal.wanted, "verdict": goal.verdict}
                for goal in found.goals
            ],
        },
    )
    path = report.RESULTS / f"{name}.json"
    parts = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(parts | {part: written}, indent=1) + "\n")
    print(f"saved {path}")
    if part == "search":
        title = f"{found.more['rows']:,} vectors"
        drawn = plots.recall_against_speed(name, {title: found.more["ladders"]})
        print(f"saved {drawn}")
