"""What a request that failed is told, and what the log says of it."""

import logging
import time
from collections.abc import Callable

import attrs
import msgspec

from kissvdb import logs
from kissvdb.api.frame.http import Headers, Request, Response
from kissvdb.errors import (
    KissError,
    MethodNotAllowed,
    OffsetNotReached,
    PastTruncated,
    QuotaExceeded,
    RateLimited,
    StillCounting,
    Unauthorized,
    Unavailable,
    UnsupportedCoding,
)

LINES_AT_ONCE = 50
LINES_PER_SECOND = 1.0
"""Of one error code. A flood of one kind is about 10 MB of log a day, and hides no other kind."""

_log = logging.getLogger("kissvdb.api")


def failure(error: KissError) -> Response:
    """The answer to a request that ended in ``error``."""
    body = b'{"error":%b,"message":%b' % (
        msgspec.json.encode(error.code),
        msgspec.json.encode(error.message),
    )
    if error.operation is not None:
        body += b',"operation":%d' % error.operation
    if error.precondition is not None:
        body += b',"precondition":%d' % error.precondition
    if isinstance(error, QuotaExceeded):
        body += b',"quota":' + msgspec.json.encode(error.quota)
    body += b"}"
    headers: Headers = ()
    if isinstance(error, Unavailable | StillCounting):
        headers = (("retry-after", str(error.retry_after_secs)),)
        if isinstance(error, OffsetNotReached):
            headers = (*headers, ("kissvdb-offset", str(error.offset)))
    elif isinstance(error, RateLimited):
        headers = (("retry-after", str(error.retry_after_secs)), *error.headers)
    elif isinstance(error, PastTruncated):
        headers = (("kissvdb-offset", str(error.oldest)),)
    elif isinstance(error, MethodNotAllowed):
        headers = (("allow", ", ".join(error.allowed)),)
    elif isinstance(error, Unauthorized):
        headers = (("www-authenticate", "Bearer"),)
    elif isinstance(error, UnsupportedCoding):
        headers = (("accept-encoding", "gzip"),)
    return Response(body, error.status, headers=headers)


@attrs.define
class Allowance:
    """How many lines one kind may still write; ``left_out`` were not, since the last one."""

    at: float
    lines: float = LINES_AT_ONCE
    left_out: int = 0

    def take(self, now: float) -> bool:
        """Whether a line may be written now."""
        self.lines = min(LINES_AT_ONCE, self.lines + (now - self.at) * LINES_PER_SECOND)
        self.at = now
        if self.lines < 1:
            self.left_out += 1
            return False
        self.lines -= 1
        return True


class FailureLog:
    """A line for each failed request, until there are too many of its kind: the next line that is
    written then says how many were left out. The metrics count them all."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # By code: there are as many as there are errors.
        self._allowances: dict[str, Allowance] = {}

    def note(self, error: KissError, request: Request, route: str, request_id: str) -> None:
        """Say that ``request`` ended in ``error``."""
        if not _log.isEnabledFor(logging.INFO):
            return
        now = self._now()
        allowance = self._allowances.setdefault(error.code, Allowance(now))
        if not allowance.take(now):
            return
        fields: dict[str, object] = {"request_id": request_id, "route": route, **request.params}
        fields |= {"status": error.status, "error": error.code, "reason": error.logged}
        if allowance.left_out:
            fields["left_out"] = allowance.left_out
            allowance.left_out = 0
        logs.event(_log, logging.INFO, "a request failed", **fields)
