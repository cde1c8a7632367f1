"""What the log says of requests that took long (``server.slow_request_ms``)."""

import logging
import math
import time
from collections.abc import Callable

from kissvdb import logs
from kissvdb.api.frame.failures import Allowance
from kissvdb.api.frame.http import Request

_log = logging.getLogger("kissvdb.api")


class SlowLog:
    """A line for each request that took as long as ``seconds``; of one route, until there are too
    many: the next line says how many were left out. Who asks compares with ``seconds`` first, which
    is all that a quick request pays."""

    def __init__(self, slow_request_ms: int, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds = slow_request_ms / 1e3 if slow_request_ms else math.inf
        self._now = now
        # By route: there are as many as in the table.
        self._allowances: dict[str, Allowance] = {}

    def note(self, request: Request, route: str, request_id: str, status: int, took: float) -> None:
        """Say that ``request`` took so many seconds."""
        now = self._now()
        allowance = self._allowances.setdefault(route, Allowance(now))
        if not allowance.take(now):
            return
        fields: dict[str, object] = {"request_id": request_id, "route": route, **request.params}
        fields |= {"status": status, "ms": round(took * 1e3, 1), "body_bytes": len(request.body)}
        if request.parts is not None:
            fields |= {f"{part}_ms": ms for part, ms in request.parts.milliseconds().items()}
            if request.parts.place is not None:
                fields["trace_id"] = f"{request.parts.place.trace_id:032x}"
        if allowance.left_out:
            fields["left_out"] = allowance.left_out
            allowance.left_out = 0
        logs.event(_log, logging.WARNING, "a slow request", **fields)
