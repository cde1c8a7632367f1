"""Which metadata passes, here and at the server."""

import math
from collections.abc import Mapping
from typing import Any

TEXT_MAX = 1024


def scalar(value: Any) -> bool:
    """Whether the server may be asked for it: it is in the document about a checkpoint."""
    if isinstance(value, str):
        return len(value) <= TEXT_MAX and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**63


def scalars(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that a list may choose by at the server."""
    return {name: value for name, value in metadata.items() if scalar(value)}


def passes(metadata: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    """Whether all members of the filter are equal."""
    return all(metadata.get(name) == value for name, value in (filter or {}).items())
