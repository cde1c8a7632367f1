"""Writes that come faster than an index grows wait for it: searches scan what it does not cover."""

from typing import TYPE_CHECKING

import trio

from kissvdb.engine.rows.upkeep import CollectionUpkeep
from kissvdb.errors import Overloaded

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without rows starts faster without.
    from kissvdb.core.rows.owner import Rows

NUMBERS_MIN = 64
"""To scan a row of fewer numbers takes as long."""
WAIT_SECONDS = 10.0
"""One batch waits no longer, of however many collections its vectors are."""
PAUSE_SECONDS = 0.02


def tail_rows_max(dim: int, tail_bytes_max: int) -> int:
    """How many rows of ``dim`` float32 may wait for the index before writes wait, too."""
    return tail_bytes_max // (4 * max(dim, NUMBERS_MIN))


async def keep_pace(
    rows: "Rows", upkeep: CollectionUpkeep, tail_bytes_max: int, deadline: float
) -> None:
    """Return when no more rows than that wait for the index, or when it does not grow at all: there
    is no compiled code yet, none is due, or upkeep fails.

    At the ``deadline`` (Trio's time) return all the same, or raise Overloaded while twice as many
    wait: a piece of upkeep may take that long, and who writes one batch after the other adds little
    meanwhile.
    """
    most = tail_rows_max(rows.spec.dim, tail_bytes_max)
    if not _is_behind(rows, upkeep, most):
        return
    with trio.move_on_at(deadline):
        # Upkeep tells nobody how far it is.
        while _is_behind(rows, upkeep, most):  # noqa: ASYNC110
            await trio.sleep(PAUSE_SECONDS)
        return
    size, count = rows.counts
    if count - size > 2 * most:
        raise Overloaded(
            f"{count - size} vectors of collection {rows.spec.name!r} wait for its index, twice as "
            f"many as {most} (search.tail_bytes_max): nothing was done, retry in a second"
        )


def _is_behind(rows: "Rows", upkeep: CollectionUpkeep, most: int) -> bool:
    size, count = rows.counts
    if count - size <= most or upkeep.problem is not None or upkeep.gone:
        return False
    return rows.drain_end() > size
