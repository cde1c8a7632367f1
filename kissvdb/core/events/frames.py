"""SSE frames that are no events of the log: how a stream begins, what it lacks, and how it ends."""

import msgspec

from kissvdb.epochs import Gap

OPENING = b": ok\n\n"

_json = msgspec.json.encode


def opening(place: int | None) -> bytes:
    """The first of a stream: a comment and, where the client does not know it, its ``place``."""
    return OPENING if place is None else b": ok\nid: %d\n\n" % place


def gap_frame(gap: Gap, epoch: str) -> bytes:
    """Says what will not come. ``epoch`` is the database's.

    Its ``id:`` is where the stream goes on from, so that a client which reconnects neither hears
    of the gap again nor loses what is written meanwhile.
    """
    data = b'{"from_offset":%d,"to_offset":%d,"dropped":%d,"reason":"%b","epoch":"%b"}' % (
        gap.first,
        gap.last,
        gap.last - gap.first + 1,
        gap.reason.encode(),
        epoch.encode(),
    )
    return b"event: gap\nid: %d\ndata: %b\n\n" % (gap.on_from, data)


def error_frame(code: str, message: str) -> bytes:
    """The last event of a stream that cannot go on. It has no ``id:``: the client keeps its place
    and may try again from there."""
    return b"event: error\ndata: " + _json({"error": code, "message": message}) + b"\n\n"


def ended_frame(reason: str) -> bytes:
    """The last event of a stream whose key works no more. It has no ``id:``."""
    return b"event: ended\ndata: " + _json({"reason": reason}) + b"\n\n"
