"""Many events at once, checked in passes over them all: one for each event costs more than the rest
of a request."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.reading.json_body import DEPTH_MAX, compact_all, may_be_deep
from kissvdb.config import Limits


class Plain(Protocol):
    """An event as it was read, of a type and data."""

    type: str
    data: msgspec.Raw


def sound(events: Sequence[Plain], bounds: Limits) -> tuple[dict[str, str], list[bytes]] | None:
    """The types of the events, by themselves, and their data, compact; None when anything is not
    right: to look at each then tells what. At least one."""
    texts = compact_all([bytes(each.data) for each in events])
    if (
        texts is None
        or max(map(len, texts)) > bounds.json_bytes_max
        or any(map(may_be_deep, [text for text in texts if len(text) > 2 * DEPTH_MAX]))
    ):
        return None
    # One string for all events of a type: thousands of them stay in the ring.
    types = {each.type: each.type for each in events}
    if any(map(partial(limits.is_bad_event_type, limits=bounds), types)):
        return None
    return types, texts
