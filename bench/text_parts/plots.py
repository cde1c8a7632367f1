"""The plot of the text bench."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot

# It chooses how matplotlib draws.
from bench.load import plots
from bench.load.report import RESULTS

assert plots.MARKS


def shares(name: str, times: Mapping[str, Mapping[str, Sequence[float]]]) -> Path:
    """A panel for each kind of search: of each engine, what share of the queries was answered
    within how many milliseconds. Ours are drawn thick."""
    figure, axes = pyplot.subplots(1, len(times), figsize=(5.5 * len(times), 4.2), squeeze=False)
    engines = list(dict.fromkeys(engine for kind in times.values() for engine in kind))
    for panel, (kind, by_engine) in zip(axes[0], times.items(), strict=True):
        for engine, taken in by_engine.items():
            panel.plot(
                np.sort(taken),
                np.arange(1, len(taken) + 1) / len(taken),
                color=f"C{engines.index(engine)}",
                linewidth=3 if engine.startswith("kissvdb") else 1.2,
                label=engine,
            )
        panel.set_xscale("log")
        panel.set_xlabel("ms")
        panel.set_title(kind)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="x-small")
    axes[0][0].set_ylabel("share of the queries")
    figure.tight_layout()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    return path
