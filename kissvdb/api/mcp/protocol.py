"""The messages of MCP and their two eras, without any of what they are about.

Until revision 2025-11-25 a client begins with `initialize`; what was agreed on is said by a header
from then on. From 2026-07-28 on there is no beginning: each request says its revision in
``params._meta`` and once more in a header, with its method and what it names. Both are JSON-RPC
2.0, one message a POST. Nothing is remembered from one to the next.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.frame.http import Request, Response
from kissvdb.version import VERSION

STATELESS = "2026-07-28"
WITH_HANDSHAKE = ("2025-11-25", "2025-06-18")
"""The newest first: it is what is offered to a client that wants one we do not speak."""
SUPPORTED = (STATELESS, *WITH_HANDSHAKE)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
"""Before 2026-07-28; since then it is INVALID_PARAMS."""
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
"""Of answers to stateless requests; before, an error was a 200 unless the message was none."""

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"

SERVER_INFO = {"name": "kissvdb", "title": "kissvdb", "version": VERSION}

NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The parameter that the header Mcp-Name says once more."""

Id = str | int
_json = msgspec.json.encode


class ProtocolError(Exception):
    """An answer that is an error of the protocol. What a tool is refused is none: see `tools`."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Message(msgspec.Struct):
    """A request, or without an id a notification."""

    method: str
    id: Id | None = None
    params: msgspec.Raw | None = None


class _Received(msgspec.Struct):
    """Any JSON object; what it has is looked at one by one, to say what is wrong."""

    jsonrpc: Any = None
    method: Any = None
    id: Any = UNSET
    params: msgspec.Raw | UnsetType = UNSET


class _Meta(msgspec.Struct):
    version: Any = msgspec.field(default=UNSET, name=VERSION_KEY)
    capabilities: Any = msgspec.field(default=UNSET, name=CAPABILITIES_KEY)


class _Envelope(msgspec.Struct):
    """What a request says of itself in its parameters."""

    meta: _Meta | UnsetType = msgspec.field(default=UNSET, name="_meta")
    name: Any = None
    uri: Any = None


_received = msgspec.json.Decoder(_Received).decode
_envelope = msgspec.json.Decoder(_Envelope).decode


def read(body: bytes) -> Message:
    """The message of a body. Raises ProtocolError."""
    try:
        found = _received(body)
    except msgspec.ValidationError as problem:
        raise ProtocolError(
            INVALID_REQUEST,
            "one JSON-RPC message a request, an object: batches are not part of the revisions that "
            "are spoken here",
        ) from problem
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise ProtocolError(PARSE_ERROR, f"the body is not JSON: {problem}"[:300]) from problem
    if found.jsonrpc != "2.0":
        raise ProtocolError(INVALID_REQUEST, 'jsonrpc: must be "2.0"')
    if not isinstance(found.method, str):
        # An answer of the client: nothing was asked of it.
        raise ProtocolError(INVALID_REQUEST, "method: must be a text: answers are not expected")
    id_ = found.id
    if id_ is UNSET:
        id_ = None
    elif not isinstance(id_, str | int) or isinstance(id_, bool):
        raise ProtocolError(INVALID_REQUEST, "id: must be a text or an integer")
    params = None if found.params is UNSET else found.params
    return Message(found.method, id_, params)


@attrs.frozen
class Era:
    """By which rules a request is answered."""

    stateless: bool


def era_of(message: Message, headers: Mapping[str, str]) -> Era:
    """Raises ProtocolError for a request that contradicts itself, or whose revision is unknown."""
    said = headers.get("mcp-protocol-version")
    envelope = _envelope_of(message)
    meta = envelope.meta
    if isinstance(meta, UnsetType):
        meta = _Meta()
    if said != STATELESS and meta.version is UNSET:
        if said is None or said in WITH_HANDSHAKE:
            return Era(stateless=False)
        raise _unsupported(said)
    missing = [
        key
        for key, value in ((VERSION_KEY, meta.version), (CAPABILITIES_KEY, meta.capabilities))
        if value is UNSET
    ]
    if missing:
        raise ProtocolError(INVALID_PARAMS, f"params._meta: {' and '.join(missing)} missing")
    _check_header("mcp-protocol-version", said, meta.version, f"params._meta: {VERSION_KEY}")
    _check_header("mcp-method", headers.get("mcp-method"), message.method, "method")
    named_by = NAMED_BY.get(message.method)
    if named_by is not None:
        name = getattr(envelope, named_by)
        if name is not None:
            given = headers.get("mcp-name")
            _check_header("mcp-name", _decoded(given), name, f"params.{named_by}")
    if meta.version != STATELESS:
        raise _unsupported(meta.version)
    return Era(stateless=True)


def _envelope_of(message: Message) -> _Envelope:
    if message.params is None:
        return _Envelope()
    try:
        return _envelope(message.params)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise ProtocolError(
            INVALID_PARAMS, f"params: an object is expected: {problem}"[:300]
        ) from problem


def _check_header(name: str, given: str | None, expected: Any, what: str) -> None:
    if given is None or given != expected:
        raise ProtocolError(HEADER_MISMATCH, f"the header {name} must say the same as {what}")


def _decoded(value: str | None) -> str | None:
    """A header as it was meant: what is no plain ASCII comes as ``=?base64?...?=``."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _unsupported(said: str) -> ProtocolError:
    return ProtocolError(
        UNSUPPORTED_VERSION,
        f"the protocol version {str(said)[:50]!r} is not spoken here",
        {"supported": list(SUPPORTED), "requested": str(said)[:50]},
    )


def answer(id_: Id, result: Mapping[str, Any], era: Era) -> Response:
    """The answer to a request."""
    return Response(_json({"jsonrpc": "2.0", "id": id_, "result": _complete(result, era)}))


def _complete(result: Mapping[str, Any], era: Era) -> Mapping[str, Any]:
    """With what every result of an era has, and without what only the other one knows."""
    if era.stateless:
        return {**result, "resultType": "complete", "_meta": {SERVER_KEY: SERVER_INFO}}
    return {name: value for name, value in result.items() if name not in ("ttlMs", "cacheScope")}


def refusal(id_: Id | None, error: ProtocolError, era: Era | None) -> Response:
    """The answer to what is refused; ``era`` None: before it was known."""
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    status = 200
    if era is None or era.stateless:
        status = _STATUS.get(error.code, 200)
    return Response(_json({"jsonrpc": "2.0", "id": id_, "error": told}), status)


def takes_events(request: Request) -> bool:
    """Whether whoever asks reads a stream."""
    accept = request.headers.get("accept", "*/*")
    return any(each in accept for each in ("text/event-stream", "text/*", "*/*"))
