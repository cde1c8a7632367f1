"""The head of a request: request line and headers, read strictly.

Two readers must agree. The request line is matched against RFC 9112's grammar here, because
llhttp forgives there (two spaces, HTTP/0.9, authority form, leading empty lines);
the header lines are read by llhttp (httptools) in its strict mode, which refuses bare CR and LF,
folded lines, spaces before the colon, control characters, and every contradiction between
Content-Length and Transfer-Encoding.
"""

import re
from typing import Any

import httptools
import msgspec

from kissvdb.errors import Refused
from kissvdb.lane.errors import HeadersTooLarge, MalformedRequest, RequestLineTooLong
from kissvdb.lane.limits import LaneLimits

HEAD_END = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Origin form, asterisk form, absolute form: an authority alone (CONNECT) is for proxies.
_TARGET = rb"/[!-~]*+|\*|[Hh][Tt][Tt][Pp][Ss]?://[!-~]++"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}+) (" + _TARGET + rb") HTTP/1\.([01])\r\n")
_TLS_HANDSHAKE = b"\x16"
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
_COMMON_NAMES = (
    *("Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Connection"),
    *("Content-Type", "Content-Length", "Authorization", "X-Api-Key", "X-Request-Id"),
    *("If-Match", "If-None-Match", "Last-Event-ID", "Cache-Control", "Origin", "Referer"),
    *("Transfer-Encoding", "Expect", "Upgrade"),
)
_NAMES = {
    written.encode(): name.lower() for name in _COMMON_NAMES for written in (name, name.lower())
}
_ONE_ONLY = (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"expect")


class Head(msgspec.Struct):
    """One request head. ``path`` and ``query`` are raw; ``headers`` have lower-case names, the
    last of a repeated name wins, and are shared by equal heads. ``content_length`` is 0 without a
    body and for a chunked one. ``foreign``: right in form, but not for the lane (an upgrade, a
    method it does not know, a target that names a host)."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    http11: bool
    keep_alive: bool
    content_length: int = 0
    chunked: bool = False
    expects_continue: bool = False
    foreign: bool = False

    @classmethod
    def of_another_protocol(cls) -> "Head":
        """Stands for the first bytes of TLS or HTTP/2."""
        return cls("", "", "", {}, http11=False, keep_alive=False, foreign=True)


class HeadReader:
    """Reads the heads of one connection, one after the other.

    A client sends the same header lines again and again. What they mean depends on nothing but
    themselves, the method and the version, so the same ones are not read again: llhttp is shown
    neither them nor the body they announce.
    """

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self._headers: dict[str, str] = {}
        self._parser: Any = httptools.HttpRequestParser(self)
        self._last: Head | None = None
        self._last_start: tuple[bytes, bytes] = (b"", b"")
        self._last_lines = b""
        self._parsed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp for each header line."""
        known = _NAMES.get(name)
        # What stands around a value is not part of it (RFC 9110, section 5.5); llhttp leaves it.
        self._headers[known or name.decode("ascii").lower()] = value.decode("latin-1").strip(" \t")

    @property
    def repeated(self) -> bool:
        """The header lines of the last head were those of the one before."""
        return not self._parsed

    def skip_body(self, body: bytes) -> None:
        """Tell llhttp that the body its last head announced has passed."""
        if self._parsed:
            self._parser.feed_data(body)

    def close(self) -> None:
        """Read no more. The parser and this hold each other: only the collector would end that."""
        self._parser = None

    def forget(self) -> None:
        """Start afresh after a body llhttp has not seen (a chunked one)."""
        self._parser = httptools.HttpRequestParser(self)

    def read_simple(self, raw: bytes, body: bytes) -> Head | None:
        """The head in ``raw`` (see ``read``) if ``body`` is its whole body and the connection
        stays as it is. Otherwise None, also for what is malformed: ``read`` can still tell why."""
        try:
            head = self.read(raw)
        except Refused:
            self.forget()
            return None
        whole = head.content_length == len(body) and head.method != "HEAD"
        if whole and head.keep_alive and not (head.chunked or head.foreign):
            if body:
                self.skip_body(body)
            return head
        self.forget()
        return None

    def read(self, raw: bytes) -> Head:
        """The head in ``raw``, which ends with its empty line and holds nothing after it.

        Raises MalformedRequest (400), RequestLineTooLong (414) or HeadersTooLarge (431).
        """
        line = _REQUEST_LINE.match(raw)
        if line is None:
            if is_foreign_protocol(raw):
                return Head.of_another_protocol()
            raise _request_line_error(raw, self._limits)
        if line.end() > self._limits.request_line_bytes_max:
            raise _line_too_long(self._limits)
        method, target, minor = line.groups()
        path, _, query = target.decode("ascii").partition("?")
        lines, last = raw[line.end() :], self._last
        same = lines == self._last_lines and (method, minor) == self._last_start
        ours = path.startswith("/")
        self._parsed = not (same and last is not None and ours)
        if last is not None and not self._parsed:
            return _with_target(last, path, query)
        self._last = None
        http11 = minor == b"1"
        head = Head(method.decode("ascii"), path, query, {}, http11, http11)
        head.foreign = not ours
        self._read_lines(head, raw, lines)
        if not head.foreign:
            self._last, self._last_start, self._last_lines = head, (method, minor), lines
        return head

    def _read_lines(self, head: Head, raw: bytes, lines: bytes) -> None:
        header_count = lines.count(b"\r\n") - 1
        if header_count > self._limits.headers_max:
            raise HeadersTooLarge(
                f"the request has {header_count} headers; at most {self._limits.headers_max} are "
                "allowed"
            )
        headers = self._headers = head.headers
        try:
            self._parser.feed_data(raw)
        except (httptools.HttpParserUpgrade, httptools.HttpParserInvalidMethodError):
            head.foreign = True
            return
        except httptools.HttpParserError as error:
            raise MalformedRequest(f"the request head is malformed: {error}") from None
        if len(headers) != header_count:
            _check_repeated(lines, headers)
        _read_framing(head)


def _with_target(head: Head, path: str, query: str) -> Head:
    return Head(
        head.method,
        path,
        query,
        head.headers,
        head.http11,
        head.keep_alive,
        head.content_length,
        head.chunked,
        head.expects_continue,
    )


def _read_framing(head: Head) -> None:
    headers = head.headers
    if "host" not in headers and head.http11:
        raise MalformedRequest("an HTTP/1.1 request needs exactly one Host header")
    length = headers.get("content-length")
    if length is not None:
        if not length.isdecimal() or len(length) > 19:
            raise MalformedRequest("Content-Length must be one decimal number")
        head.content_length = int(length)
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or not head.http11:
            raise MalformedRequest(
                "Transfer-Encoding must be chunked alone, and needs HTTP/1.1: send the body "
                "plain with its Content-Length, or chunked"
            )
        head.chunked = True
    if "upgrade" in headers:
        head.foreign = True
    if not head.http11:
        return
    expect = headers.get("expect")
    if expect is not None:
        head.expects_continue = expect.lower() == "100-continue"
    connection = headers.get("connection")
    if connection is not None:
        options = connection.lower().split(",")
        head.keep_alive = all(option.strip() != "close" for option in options)


def _check_repeated(lines: bytes, headers: dict[str, str]) -> None:
    """Repeated names are legal, but not where a second one could change the message's frame."""
    pairs = [line.partition(b":")[::2] for line in lines[:-4].split(b"\r\n")]
    names = [name.lower() for name, _ in pairs]
    for name in _ONE_ONLY:
        if names.count(name) > 1:
            raise MalformedRequest(f"the request has more than one {name.decode().title()} header")
    options = [
        value for name, (_, value) in zip(names, pairs, strict=True) if name == b"connection"
    ]
    if options:
        headers["connection"] = b",".join(options).decode("latin-1").strip()


def is_foreign_protocol(data: bytes) -> bool:
    """Whether a connection that begins with ``data`` speaks TLS or HTTP/2."""
    return data.startswith((_TLS_HANDSHAKE, _HTTP2_PREFACE))


def check_partial(data: bytes, limits: LaneLimits) -> None:
    """Refuse at once what no further byte can make right. Raises MalformedRequest, or
    RequestLineTooLong."""
    line_end = data.find(b"\n")
    if line_end < 0:
        if len(data) > limits.request_line_bytes_max:
            raise _line_too_long(limits)
    elif _REQUEST_LINE.match(data) is None and not _HTTP2_PREFACE.startswith(data):
        raise _request_line_error(data, limits)
    elif data.count(b"\n") != data.count(b"\r\n"):
        raise MalformedRequest("lines must end with CR LF")


def _line_too_long(limits: LaneLimits) -> RequestLineTooLong:
    return RequestLineTooLong(
        f"the request line is over {limits.request_line_bytes_max} bytes; put long values into "
        "the body"
    )


def _request_line_error(raw: bytes, limits: LaneLimits) -> MalformedRequest | RequestLineTooLong:
    if raw.find(b"\r\n") > limits.request_line_bytes_max:
        return _line_too_long(limits)
    return MalformedRequest(
        "the request line must be 'METHOD /path HTTP/1.1': one space between the parts, visible "
        "ASCII only"
    )
