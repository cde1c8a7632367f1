"""What a part of the vector bench hands back."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from bench.load.process import Server
from bench.load.report import Cell, Ratio
from bench.vector_parts.goals import Goal


@attrs.frozen
class Outcome:
    """Measurements, their ratios, the goals, and ``more`` to keep with them."""

    cells: Sequence[Cell]
    goals: Sequence[Goal]
    found: Sequence[Ratio] = ()
    servers: Sequence[Server] = ()
    more: Mapping[str, Any] = attrs.Factory(dict)
