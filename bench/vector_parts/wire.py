"""One HTTP connection that sends requests as they are, and reads whole answers."""

import http.client
import socket
from types import TracebackType

from bench.load.process import Server

ANSWER_SECS_MAX = 300.0
READ_BYTES = 1 << 20


class Refused(Exception):
    """An answer that is not 2xx; the message holds it."""


class Connection:
    """A kept-alive connection to a server; a context manager."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), ANSWER_SECS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send one request; the body of its answer. Raises Refused."""
        self._socket.sendall(request)
        answer = http.client.HTTPResponse(self._socket)
        answer.begin()
        body = answer.read()
        answer.close()
        if answer.status >= 300:
            raise Refused(f"{answer.status} {body[:500]!r} to {request[:80]!r}")
        return body
