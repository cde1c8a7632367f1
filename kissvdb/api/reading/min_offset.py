"""``min_offset``: a read that sees at least everything up to an offset, or says that it cannot yet.

Any route that reads takes it, whatever it reads: the dispatcher waits, handlers know nothing of it.
"""

import trio

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import Route
from kissvdb.api.reading.query import parse_query, u64
from kissvdb.errors import InvalidArgument, OffsetNotReached

TIMEOUT_MS_DEFAULT = 1000


def is_reached(context: Context, route: Route, request: Request) -> bool:
    """Whether the route may answer now. Raises InvalidArgument."""
    offset, _ = _asked(context, route, request)
    return not offset or offset <= context.database.applied_offset


async def wait(context: Context, route: Route, request: Request) -> bool:
    """Return when the route may answer, and whether it had to be waited for. Raises
    OffsetNotReached after ``timeout_ms``, and InvalidArgument."""
    offset, timeout_ms = _asked(context, route, request)
    database = context.database
    if not offset or offset <= database.applied_offset:
        return False
    with trio.move_on_after(timeout_ms / 1000):
        await database.reached(offset)
        return True
    raise OffsetNotReached(
        f"offset {offset} is not reached within {timeout_ms} ms (timeout_ms): this server is at "
        f"{database.applied_offset}; ask again, or is the offset of another epoch?",
        database.applied_offset,
    )


def _asked(context: Context, route: Route, request: Request) -> tuple[int, int]:
    """The offset, 0 without one, and how long to wait for it."""
    query = request.query
    # Names may be written with escapes.
    named = "min_offset" in query or "timeout_ms" in query or "%" in query
    if not route.reads or not named:
        return 0, 0
    parameters = parse_query(request.query)
    offset = u64(parameters, "min_offset")
    timeout_ms = u64(parameters, "timeout_ms")
    most = 1000 * context.config.server.request_timeout_secs
    if timeout_ms is not None and timeout_ms > most:
        raise InvalidArgument(
            f"query.timeout_ms: at most {most}, the time that a request may take "
            "(server.request_timeout_secs)"
        )
    return offset or 0, TIMEOUT_MS_DEFAULT if timeout_ms is None else timeout_ms
