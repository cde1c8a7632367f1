"""The keys of the state as a tree: what there is one level below a prefix, up to a separator.

A branch costs a look for its end, however many keys it has, so that a level of a million keys is
there at once. Read by a thread, from a snapshot.
"""

import time
from collections.abc import Iterable
from itertools import islice

import apsw
import attrs

from kissvdb.engine.tables.keys import KeyRange, Keys
from kissvdb.engine.tables.sight import Bounds
from kissvdb.engine.tables.taking import Sources, take
from kissvdb.engine.tables.uses import Uses
from kissvdb.errors import Overloaded
from kissvdb.storage.state.table import after_prefix

COUNTED_MAX = 1000
"""So many keys of a branch are counted: one with more has `more`."""
COUNTED_TOGETHER_MAX = 20_000
"""Of a page: branches behind that are not counted, and have `more`."""
PAGE_BYTES_MAX = 8 * 1024 * 1024
"""A page ends early rather than look at more bytes of values."""
SECONDS_MAX = 1.0
"""And after this time, with what there is by then."""
GIVEN_UP_SECONDS = 10.0

_KEYS = Uses(True, False, frozenset(), frozenset())


@attrs.frozen
class Branch:
    """Keys that begin so. ``keys``: how many were counted; ``more``: there may be more."""

    prefix: str
    keys: int
    more: bool


@attrs.frozen
class Leaf:
    """A key. ``bytes`` of its value."""

    key: str
    revision: int
    expires_at_ms: int | None
    bytes: int


@attrs.frozen
class Level:
    """Branches and keys together in byte order. ``cursor``: where the next page begins; None: it is
    the last."""

    entries: list[Branch | Leaf]
    cursor: str | None
    offset: int


async def level(
    sources: Sources, prefix: str, separator: str, start: str | None, limit: int
) -> Level:
    """A page of what is below ``prefix``, from ``start`` on. Raises Overloaded."""
    begun = time.monotonic()
    bounds = Bounds(
        is_over=lambda: time.monotonic() - begun > GIVEN_UP_SECONDS,
        seconds_left=lambda: GIVEN_UP_SECONDS - (time.monotonic() - begun),
        k_max=1,
    )
    try:
        snapshot = await take(sources, _KEYS, bounds)
        try:
            assert snapshot.keys is not None, "they were asked for"
            entries, cursor = await sources.threads.searches.run(
                _read, snapshot.keys, prefix, separator, start, limit
            )
        finally:
            snapshot.close()
    except (apsw.InterruptError, apsw.BusyError) as problem:
        raise Overloaded("the keys could not be looked at in time: try again") from problem
    return Level(entries, cursor, snapshot.offset)


def _read(
    keys: Keys, prefix: str, separator: str, start: str | None, limit: int
) -> tuple[list[Branch | Leaf], str | None]:
    ends_at = time.monotonic() + SECONDS_MAX
    end = after_prefix(prefix) if prefix else None
    entries: list[Branch | Leaf] = []
    low: str | None = start or prefix
    counted = size = 0
    while low is not None:
        # Until a branch: then it goes on behind that.
        for key, value, revision, _, expires_at_ms in keys.rows(
            KeyRange(low, end), values=True, ordered=True
        ):
            if len(entries) == limit or size > PAGE_BYTES_MAX or time.monotonic() > ends_at:
                return entries, key
            at = key.find(separator, len(prefix))
            if at < 0:
                assert value is not None, "it was asked for"
                length = len(value.encode())
                size += length
                entries.append(Leaf(key, revision, expires_at_ms, length))
                continue
            branch = key[: at + len(separator)]
            found = _count(keys, branch, min(COUNTED_MAX, COUNTED_TOGETHER_MAX - counted))
            counted += found.keys
            entries.append(found)
            low = after_prefix(branch)
            break
        else:
            return entries, None
    return entries, None


def _count(keys: Keys, prefix: str, most: int) -> Branch:
    if most <= 0:
        return Branch(prefix, 0, True)
    wanted = KeyRange(prefix, after_prefix(prefix))
    found: Iterable[object] = keys.rows(wanted, values=False, ordered=True)
    count = sum(1 for _ in islice(found, most + 1))
    return Branch(prefix, min(count, most), count > most)
