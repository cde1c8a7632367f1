"""Plots of the figures, as PNG files in bench/results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.load.report import RESULTS, Cell, Place, medians

MARKS = "os^Dv"


def curves(
    name: str, cells: Sequence[Cell], heads: Mapping[str, str], clients: str = "connections"
) -> Path:
    """A column of panels per group, one per metric: a curve over the clients for each server.

    ``heads`` names the metrics and their labels, ``clients`` what counts along the bottom. A
    server keeps its colour everywhere; ours are drawn thick. The scale is logarithmic.
    """
    found = medians(cells)
    groups = list(dict.fromkeys(place.group for place in found))
    servers = sorted({_server(place.target) for place in found})
    figure, axes = pyplot.subplots(
        len(heads), len(groups), figsize=(5.5 * len(groups), 3.2 * len(heads)), squeeze=False
    )
    for column, group in enumerate(groups):
        part = {place: metrics for place, metrics in found.items() if place.group == group}
        for row, metric in enumerate(heads):
            values = {place: metrics[metric] for place, metrics in part.items()}
            _panel(axes[row][column], values, servers)
            axes[row][column].set_ylabel(heads[metric])
        axes[0][column].set_title(group)
        axes[-1][column].set_xlabel(clients)
        axes[-1][column].legend(fontsize="x-small", ncols=2)
    figure.tight_layout()
    path = RESULTS / f"{name}.png"
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    return path


def _panel(axes: Axes, values: Mapping[Place, float], servers: Sequence[str]) -> None:
    clients = sorted({place.clients for place in values})
    targets = sorted({place.target for place in values})
    for target in targets:
        server = _server(target)
        ways = [each for each in targets if _server(each) == server]
        points = {place.clients: value for place, value in values.items() if place.target == target}
        counts = [each for each in clients if each in points]
        axes.plot(
            [clients.index(each) for each in counts],
            [points[each] for each in counts],
            color=f"C{servers.index(server)}",
            marker=MARKS[ways.index(target) % len(MARKS)],
            linewidth=3 if server == "lane" else 1.2,
            label=target,
        )
    axes.set_xticks(range(len(clients)), [str(each) for each in clients])
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _server(target: str) -> str:
    return target.partition(" ")[0]
