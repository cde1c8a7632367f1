"""Results as Markdown: tables, the machine in one sentence, and figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
Metrics = Mapping[str, float]


def about(result: Result) -> str:
    """The machine and the versions, in one paragraph."""
    machine, servers = result["about"], result["servers"]
    load = ", ".join(f"{each:.1f}" for each in machine["load_average_before"])
    versions = ", ".join(f"{name} {each['version']}" for name, each in servers.items())
    return (
        f"{machine['date']}: {machine['cores']} cores ({machine['processor']}), Linux "
        f"{machine['system']}, {machine['file_system']}, Python {machine['python']}; load average "
        f"before: {load}. {versions}.\n"
    )


def table(result: Result, show: Callable[[Metrics], str]) -> str:
    """Servers down, numbers of clients across, for each thing that was measured."""
    found = {(e["group"], e["target"], e["clients"]): e["metrics"] for e in result["medians"]}
    clients = sorted({key[2] for key in found})
    lines = ["| | | " + " | ".join(f"{each}" for each in clients) + " |"]
    lines.append("|---|---|" + "---:|" * len(clients))
    for group in dict.fromkeys(key[0] for key in found):
        for target in sorted({key[1] for key in found if key[0] == group}):
            cells = [found.get((group, target, each)) for each in clients]
            texts = ["" if cell is None else show(cell) for cell in cells]
            lines.append(f"| {group} | {target} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def one(metric: str) -> Callable[[Metrics], str]:
    """Shows one metric."""
    return lambda metrics: number(metrics[metric])


def latency(metrics: Metrics) -> str:
    """p50 / p95 / p99 in milliseconds."""
    return " / ".join(number(metrics[f"{each}_ms"]) for each in ("p50", "p95", "p99"))


def number(value: float) -> str:
    """A figure with no more digits than it deserves."""
    if value != value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, the first column to the left and all others to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
