"""Epochs: which history an offset is a place in.

An epoch begins when a history can have forked: a new database, a restored backup, a repair that
cut records, a start in memory. Its offsets lie above every offset that an earlier epoch can have
given away, so a bare number is enough to tell a place that is no more; who also says the epoch is
told even where numbers meet.
"""

import secrets
from collections.abc import Sequence

import attrs

OFFSETS_PER_MS = 2048
OFFSET_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps."""

_STEP = 2**32


def new_epoch() -> str:
    """A name that no other epoch has: 16 hexadecimal digits, not all zero."""
    return f"{secrets.randbelow(2**64 - 1) + 1:016x}"


def offset_before(offset: int, count: int, boundaries: "Sequence[Boundary]") -> int:
    """The offset that lies ``count`` before ``offset``, those not counted that were skipped."""
    before = offset - count
    for each in reversed(boundaries):
        if before >= each.floor:
            break
        before -= each.floor - each.last
    return before


def floor_above(head: int, now_ms: int) -> int:
    """The offset that an epoch begins after, whose history is known up to ``head``.

    2048 for every millisecond since 1970: nobody writes as many, so nobody who saw an offset
    before now (in a future that is lost, or in another copy) saw a higher one. Where the clock
    must be wrong, because the head is above that: more than 2^32 above the head.
    """
    by_time = now_ms * OFFSETS_PER_MS
    if head < by_time < OFFSET_MAX:
        return by_time
    return (head // _STEP + 2) * _STEP


@attrs.frozen
class Boundary:
    """Where an epoch ended, after offset ``last``; the next begins after offset ``floor``.

    ``epoch`` is "" where the log does not tell, or where offsets were skipped within one epoch.
    """

    epoch: str
    last: int
    floor: int


@attrs.frozen
class Gap:
    """What a client is told that offsets ``first`` .. ``last`` as it knows them will not come, and
    that the stream goes on after ``on_from``.

    ``reason``: ``trimmed``, the log no longer holds them; ``ahead``, the client's place is past
    the head; ``epoch``, they are of a history that is no more.
    """

    first: int
    last: int
    reason: str
    on_from: int


@attrs.frozen
class Epochs:
    """The epoch of a database, which began after offset ``floor``, and the ends of earlier ones
    that its log knows, oldest first."""

    current: str
    floor: int = 0
    boundaries: Sequence[Boundary] = ()

    def place(self, since: int, epoch: str | None, head: int) -> tuple[int, Gap | None]:
        """Where a client goes on that has seen everything up to ``since`` of ``epoch`` (None:
        it does not say), and what it must be told first. ``head``: the newest offset.

        A place at or before an epoch's end is as good in the next: the history up to there is
        the same.
        """
        if since and epoch is not None and epoch != self.current:
            ended = next((each for each in self.boundaries if each.epoch == epoch), None)
            if ended is None:
                gap = Gap(1, max(since, self.floor), "epoch", self.floor)
                return gap.on_from, gap
            if since > ended.last:
                gap = Gap(ended.last + 1, max(since, ended.floor), "epoch", ended.floor)
                return gap.on_from, gap
        for each in self.boundaries:
            if each.last < since < each.floor:
                return each.floor, Gap(each.last + 1, each.floor, "epoch", each.floor)
            if since == each.last:
                since = each.floor
        head = max(head, self.floor)
        if since > head:
            return head, Gap(head + 1, since, "ahead", head)
        return since, None
