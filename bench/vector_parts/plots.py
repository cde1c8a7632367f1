"""Plots of the vector bench: recall against speed, and the servers under load."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot

from bench.load.plots import MARKS, curves
from bench.load.report import RESULTS
from bench.vector_parts.outcome import Outcome

Points = Sequence[tuple[int, float, float]]


def draw(part: str, outcome: Outcome, name: str) -> Path | None:
    """The plot of a part, if it has one."""
    if part == "kernels":
        return recall_against_speed(name, outcome.more["ladders"])
    if part == "server":
        heads = {"operations_per_s": "searches/s", "p99_ms": "p99 ms", "cpu_us": "CPU us"}
        return curves(name, outcome.cells, heads)
    return None


def recall_against_speed(name: str, ladders: Mapping[str, Mapping[str, Points]]) -> Path:
    """A panel for each way to build: a curve for each contender, up the ladder of ef.

    Ours are drawn thick. To the right is better found, up is faster.
    """
    figure, axes = pyplot.subplots(
        1, len(ladders), figsize=(6.5 * len(ladders), 5), squeeze=False, sharey=True
    )
    for panel, (title, by_name) in zip(axes[0], ladders.items(), strict=True):
        for place, (contender, points) in enumerate(by_name.items()):
            missed = [1 - recall for _, recall, _ in points]
            panel.plot(
                missed,
                [qps for *_, qps in points],
                color=f"C{place}",
                marker=MARKS[place % len(MARKS)],
                markersize=4,
                linewidth=3 if contender.startswith("ours") else 1.2,
                label=contender,
            )
        ticks = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
        # What is missed, on a logarithmic scale: near 1 all curves would lie in one line.
        panel.set_xscale("log")
        panel.set_xlim(0.3, 0.003)
        panel.set_xticks(ticks, [f"{1 - each:g}" for each in ticks])
        panel.minorticks_off()
        panel.set_yscale("log")
        panel.set_xlabel("recall@10")
        panel.set_ylabel("queries a second of CPU time, one thread")
        panel.set_title(title)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="x-small")
    figure.tight_layout()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    return path
