"""The JSON of tuning that goes in and out, as types. See `vectors.bodies`."""

from typing import Annotated

import attrs
import msgspec

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.core.store.options import Tuning


class TuneBody(RequestBody, frozen=True):
    """How much of the ``k`` nearest searches are to find; measured with so many ``queries``."""

    recall: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    k: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    queries: Annotated[int, msgspec.Meta(ge=20, le=1000)] = 200


@attrs.frozen
class RungInfo:
    """What searches of an ``effort`` found, and the microseconds of CPU that one takes."""

    effort: U64
    recall: float
    us: float


@attrs.frozen
class TuningInfo:
    """What was measured of a collection last: the ``k`` nearest of ``queries`` vectors."""

    k: U64
    queries: U64
    rows: U64
    at_ms: U64
    ladder: list[RungInfo]

    @classmethod
    def of(cls, tuning: Tuning) -> "TuningInfo":
        """What was measured, as it is shown."""
        ladder = [RungInfo(**attrs.asdict(each)) for each in tuning.ladder]
        return cls(tuning.k, tuning.queries, tuning.rows, tuning.at_ms, ladder)


@attrs.frozen
class Tuned:
    """``option``: what says how hard a search tries, null where it looks at everything. ``effort``:
    what was chosen and is the collection's from now on, which found ``reached``; null: nothing
    finds so much, ``note`` says what to do. ``searches`` of the queries were made by clients."""

    collection: str
    kind: str
    option: str | None
    wanted: float
    effort: U64 | None
    reached: float
    searches: U64
    tuning: TuningInfo
    offset: U64 | None
    note: str | None
