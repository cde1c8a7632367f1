"""The JSON of maps that goes in and out, as types."""

from typing import Any

import attrs
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.vectors.bodies import Filters


class MapBody(RequestBody, frozen=True):
    """Which vectors: at most ``sample`` of those that pass, drawn at random. ``field``: a field of
    their metadata that each point tells."""

    sample: int | None = None
    field: str | None = None
    filters: Filters = None
    namespace: str | None = None


@attrs.frozen
class MapPoint:
    """A vector. ``value``: of the field; of an array its first, of a long string its beginning;
    left out where there is none."""

    id: str
    x: float
    y: float
    value: Any | UnsetType = UNSET


@attrs.frozen
class VectorMap:
    """Points, of ``passing`` vectors in all. ``explained``: the part of the variance that x has,
    and y: what is near in the plane is near in truth the more, the more they have."""

    points: list[MapPoint]
    passing: U64
    explained: list[float]
    offset: U64
