"""Requests whose parts somebody wants: the log of slow ones, a collector of traces, or both."""

from typing import Self

import msgspec

from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import Route
from kissvdb.api.frame.slow import SlowLog
from kissvdb.config import Config
from kissvdb.telemetry.parts import Parts, current
from kissvdb.telemetry.tracer import Tracer

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Watch:
    """Made once per server, if anybody wants the parts of its requests. Of a request traces have
    its method, route, status and id: nothing that it asks for or says."""

    def __init__(self, slow: SlowLog, tracer: Tracer | None) -> None:
        self._slow = slow
        self._tracer = tracer

    @classmethod
    def of(cls, config: Config, tracer: Tracer | None) -> Self | None:
        """None: nobody does, and all that it costs is to look at that."""
        slow_ms = config.server.slow_request_ms
        return cls(SlowLog(slow_ms), tracer) if slow_ms or tracer is not None else None

    def begin(self, request: Request) -> Request:
        """The request with what its parts are noted in."""
        parts = Parts(current())
        if self._tracer is not None:
            self._tracer.begin(parts, request.headers.get("traceparent"))
        return msgspec.structs.replace(request, parts=parts)

    def end(
        self, request: Request, route: Route | None, request_id: str, status: int, took: float
    ) -> None:
        """It was answered, or its stream begins, after so many seconds."""
        parts = request.parts
        assert parts is not None
        if took >= self._slow.seconds and route is not None:
            self._slow.note(request, route.name, request_id, status, took)
        if self._tracer is None:
            return
        method = request.method if request.method in _METHODS else "_OTHER"
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.response.status_code": status,
            "kissvdb.request_id": request_id,
        }
        name = "HTTP" if method == "_OTHER" else method
        if route is not None:
            template = route.name.partition(" ")[2]
            attributes["http.route"] = template
            name = f"{name} {template}"
        failed = status >= 500
        if failed:
            attributes["error.type"] = str(status)
        self._tracer.end(parts, name, attributes, failed=failed)
