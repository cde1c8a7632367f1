"""Plots of the figures, as PNG files in bench/results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.load.report import RESULTS, Cell, Place, medians


def bars(
    name: str, cells: Sequence[Cell], heads: Mapping[str, str], clients: str = "connections"
) -> Path:
    """Bars per group and metric: one bunch per number of clients, one colour per server.

    ``heads`` names the metrics and their labels, ``clients`` what the numbers below the bunches
    are. The scale is logarithmic. Missing values leave a gap.
    """
    found = medians(cells)
    groups = list(dict.fromkeys(place.group for place in found))
    figure, axes = pyplot.subplots(
        len(heads), len(groups), figsize=(6 * len(groups), 3.2 * len(heads)), squeeze=False
    )
    for column, group in enumerate(groups):
        part = {place: metrics for place, metrics in found.items() if place.group == group}
        for row, metric in enumerate(heads):
            values = {place: metrics[metric] for place, metrics in part.items()}
            _bunches(axes[row][column], values, heads[metric])
        axes[0][column].set_title(group)
        axes[-1][column].set_xlabel(clients)
        axes[0][column].legend(fontsize="x-small")
    figure.tight_layout()
    path = RESULTS / f"{name}.png"
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path


def _bunches(axes: Axes, values: Mapping[Place, float], label: str) -> None:
    clients = sorted({place.clients for place in values})
    targets = sorted({place.target for place in values})
    width = 0.8 / len(targets)
    for index, target in enumerate(targets):
        heights = [
            next((v for p, v in values.items() if (p.target, p.clients) == (target, each)), 0.0)
            for each in clients
        ]
        places = [bunch - 0.4 + width * (index + 0.5) for bunch in range(len(clients))]
        axes.bar(places, heights, width, label=target)
    axes.set_xticks(range(len(clients)), [str(each) for each in clients])
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.grid(axis="y", alpha=0.3)
