"""HTTP/1.1 without a socket: requests as bytes, and answers from bytes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import httptools
import msgspec

from kissvdb.errors import InvalidArgument
from kissvdb.version import VERSION

JSON = "application/json"
MSGPACK = "application/msgpack"
NDJSON = "application/x-ndjson"
MERGE_PATCH = "application/merge-patch+json"

# What a key may have in a path as it is.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SAFE = frozenset(_LETTERS + "!$&'()*+,;=:@-._~")
_SAFE_IN_QUERY = frozenset(_LETTERS + "-._~:,")


class Call(msgspec.Struct):
    """A request. ``safe``: to send it twice does no more than to send it once. ``reads``: it may
    tell which offset it wants to see."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = JSON
    query: dict[str, Any] = {}
    headers: tuple[tuple[str, str], ...] = ()
    safe: bool = False
    reads: bool = False

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"{self.method} {self.path[:200]}"


class Answer(msgspec.Struct):
    """An answer. Headers by their names in lower case; ``body`` is whole unless it is streamed."""

    status: int
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


def segment(text: str) -> str:
    """A name or an id as a part of a path."""
    return _quoted(text, _SAFE)


def to_json(value: Any) -> bytes:
    """JSON of what a caller gave. Raises InvalidArgument for NaN and infinity: JSON has none, and
    they would silently be written as null."""
    text = msgspec.json.encode(value)
    if b"null" in text and _holds_none_of_json(value):
        raise InvalidArgument("JSON has no NaN and no infinity: leave them out, or say None")
    return text


def _holds_none_of_json(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_holds_none_of_json, value.values()))
    return isinstance(value, list | tuple | set | frozenset) and any(
        map(_holds_none_of_json, value)
    )


def given(**members: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in members.items() if value is not None}


def sql_params(params: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any] | Mapping[str, Any]:
    """Parameters of SQL as they are. Raises InvalidArgument for bytes: JSON has none, and base64
    would silently be bound as a text."""
    given = params.values() if isinstance(params, Mapping) else params
    if any(isinstance(each, bytes | bytearray | memoryview) for each in given):
        raise InvalidArgument(
            "params: bytes cannot be bound: pass value.hex() and write unhex(?) in the statement"
        )
    return params


def encode(call: Call, prefix: str, common: str, min_offset: int) -> bytes:
    """The bytes of a request. ``prefix``: of the path. ``common``: headers of every request, each
    with its line end."""
    target = prefix + call.path
    query = call.query
    if min_offset and call.reads:
        query = {**query, "min_offset": min_offset}
    if query:
        target += "?" + "&".join(
            f"{name}={_quoted(_parameter(value), _SAFE_IN_QUERY)}" for name, value in query.items()
        )
    head = f"{call.method} {target} HTTP/1.1\r\n{common}"
    for name, value in call.headers:
        if "\r" in value or "\n" in value:
            raise ValueError(f"{name}: no line breaks")
        head += f"{name}: {value}\r\n"
    if call.body or call.method in ("PUT", "POST", "PATCH"):
        head += f"content-type: {call.content_type}\r\ncontent-length: {len(call.body)}\r\n"
    return b"%b\r\n%b" % (head.encode("latin-1"), call.body)


def common_headers(host: str, key: str | None) -> str:
    """The headers of every request. Raises ValueError for a key that is none."""
    text = f"host: {host}\r\nuser-agent: kissvdb/{VERSION}\r\n"
    if key is not None:
        if not key.isascii() or not key.isprintable():
            raise ValueError("key: printable ASCII only")
        text += f"authorization: Bearer {key}\r\n"
    return text


def _quoted(text: str, safe: frozenset[str]) -> str:
    """RFC 3986: what is not safe as %XX of its UTF-8. What needs none, as most, costs one look."""
    if not isinstance(text, str):
        raise TypeError(f"a key, a name and an id are texts (str), not {type(text).__name__}")
    if safe.issuperset(text):
        return text
    return "".join(
        each if each in safe else "".join(f"%{byte:02X}" for byte in each.encode()) for each in text
    )


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ",".join(map(str, value))


class AnswerParser:
    """Of one connection: feed it what arrives, and take the answer when there is one."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begun = False
        """Anything has arrived of the answer that is expected."""
        self.has_head = False
        self.is_complete = False
        self._keeps_alive = False
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError for what is no HTTP."""
        self.begun = True
        self._parser.feed_data(data)

    def take(self) -> Answer:
        """The answer, as far as it is there; the body is given away."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        return Answer(self.status, self._headers, body, self._keeps_alive)

    @property
    def status(self) -> int:
        """Of the answer whose head is there."""
        return int(self._parser.get_status_code())

    def expect(self) -> None:
        """The next answer."""
        self.begun = self.has_head = self.is_complete = False
        self._headers = {}

    # What httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        # Afterwards the parser has forgotten it, and says no.
        self._keeps_alive = bool(self._parser.should_keep_alive())
        self.is_complete = True
