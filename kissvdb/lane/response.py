"""Answers as bytes: status line, headers and body joined, so that one send carries them."""

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

import trio

from kissvdb.api.frame.http import Headers, Response, StreamResponse

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
# RFC 9110, sections 15.3.5 and 15.4.5: these answers never have a body.
_BODILESS = (204, 304)
_OK = 200


class Clock:
    """The time as the last sweep saw it. Deadlines and the Date header need no better.

    With it goes what else most answers end with: the headers that ``shared`` tells, and the empty
    line. They are put together once per sweep.
    """

    __slots__ = ("_tell", "date_line", "ending", "now", "shared")

    def __init__(self, shared: Callable[[], Headers] = tuple) -> None:
        self._tell = shared
        self.tick()

    def tick(self) -> None:
        """Look at the clock again: once per sweep, not once per request."""
        self.now = trio.current_time()
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n"
        self.shared = self._tell()
        self.ending = f"{_header_lines(self.shared)}{self.date_line}\r\n"


def encode_response(response: Response, clock: Clock, *, close: bool, head_only: bool) -> bytes:
    """The whole answer. ``head_only``: the request was HEAD, so the body stays away but its
    length is told; ``close``: announce that the connection ends here."""
    status, body, headers = response.status, response.body, response.headers
    own = len(headers) - len(clock.shared)
    if own > 0 and not close and headers[own:] == clock.shared:
        lines = _header_lines(headers[:own])
        if status == _OK and not head_only:
            # Most answers there are.
            return (
                f"HTTP/1.1 200 OK\r\ncontent-type: {response.content_type}\r\n"
                f"content-length: {len(body)}\r\n{lines}{clock.ending}"
            ).encode("latin-1") + body
        ending = f"{lines}{clock.ending}"
    else:
        ending = f"{_header_lines(headers)}{clock.date_line}{_CONNECTION_END[close]}"
    if status in _BODILESS:
        return f"{_status_line(status)}{ending}".encode("latin-1")
    type_ = response.content_type
    if not head_only:
        begun = f"{_status_line(status)}content-type: {type_}\r\ncontent-length: {len(body)}\r\n"
        return f"{begun}{ending}".encode("latin-1") + body
    # To HEAD, the length that GET would tell; of a stream it is not known.
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{_status_line(status)}content-type: {type_}\r\n{length}{ending}".encode("latin-1")


def encode_stream_head(response: StreamResponse, clock: Clock, *, chunked: bool) -> bytes:
    """The head of a streamed answer: chunked for HTTP/1.1, else its end is the connection's."""
    coding = "transfer-encoding: chunked\r\n" if chunked else ""
    return (
        f"{_status_line(response.status)}content-type: {response.content_type}\r\n{coding}"
        f"{_header_lines(response.headers)}{clock.date_line}{_CONNECTION_END[True]}"
    ).encode("latin-1")


def encode_chunk(blob: bytes) -> bytes:
    """``blob`` (not empty: an empty chunk would end the body) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(blob), blob)


_CONNECTION_END = {False: "\r\n", True: "connection: close\r\n\r\n"}


def _status_line(status: int) -> str:
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"


def _header_lines(headers: Headers) -> str:
    lines = ""
    for name, value in headers:
        lines += f"{name}: {value}\r\n"
    # A line break inside a value would be a header, or an answer, of the client's choosing.
    if lines.count("\n") + lines.count("\r") != 2 * len(headers):
        raise ValueError(f"a response header holds a line break: {headers!r}")
    return lines
