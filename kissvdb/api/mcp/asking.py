"""Asking the routes of the table in the name of whoever asks MCP.

Each is asked as over HTTP, with the same key: it is admitted, limited, counted and audited as ever,
so MCP can do nothing that the key may not do without it.
"""

from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from kissvdb.api.access.auth import key_of
from kissvdb.api.access.entrance import put_off
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.api.frame.principal import Principal
from kissvdb.errors import KissError, Unauthorized

T = TypeVar("T")

RESULT_BYTES_MAX = 256 * 1024
"""Of what a tool or a resource answers: it goes into the context of a model."""

_TAKEN_ALONG = ("x-forwarded-for", "x-request-id")


class Failed(Exception):
    """A route refused, or the arguments are wrong: whoever asked is told, and may try again."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @classmethod
    def of(cls, error: KissError) -> "Failed":
        return cls(error.status, error.code, error.message)


class _Refusal(msgspec.Struct):
    error: str
    message: str


class Asker:
    """Of one request of MCP."""

    def __init__(self, context: Context, request: Request) -> None:
        self.context = context
        self.principal: Principal = request.principal
        self._outer = request
        self._taken_along = _headers(request)
        self._counted = False
        self.headers: dict[str, str] = {}
        """Of the last answer."""

    async def ask(self, method: str, path: str, value: Any = None, /, **query: Any) -> bytes:
        """The body of the answer. ``value`` is sent as JSON, of ``query`` what is not None.
        Raises Failed."""
        answer = await self._dispatch(method, path, value, query)
        assert isinstance(answer, Response)
        self.headers = dict(answer.headers)
        return answer.body

    async def read(
        self, type_: type[T], method: str, path: str, value: Any = None, /, **q: Any
    ) -> T:
        """As `ask`, read as ``type_``."""
        return msgspec.json.decode(await self.ask(method, path, value, **q), type=type_)

    async def stream(self, **query: Any) -> StreamResponse:
        """The live stream. Raises Failed."""
        answer = await self._dispatch("GET", "/v1/stream", None, query)
        assert isinstance(answer, StreamResponse)
        return answer

    async def _dispatch(
        self, method: str, path: str, value: Any, query: dict[str, Any]
    ) -> Response | StreamResponse:
        if not self._counted:
            # What is asked is counted there; compressed, the size that was counted is not known.
            self._counted = True
            if "content-encoding" not in self._outer.headers:
                put_off(self._outer)
        ask = self.context.ask
        assert ask is not None
        said = {name: _text(each) for name, each in query.items() if each is not None}
        body = b"" if value is None else msgspec.json.encode(value)
        headers = self._taken_along if value is None else {**self._taken_along, **_JSON}
        peer = self._outer.peer
        answer = await ask(Request(method, path, urlencode(said), headers, body, peer=peer))
        if answer.status >= 400:
            assert isinstance(answer, Response)
            told = msgspec.json.decode(answer.body, type=_Refusal)
            raise Failed(answer.status, told.error, told.message)
        return answer


_JSON = {"content-type": "application/json"}


def _headers(request: Request) -> dict[str, str]:
    headers = {name: request.headers[name] for name in _TAKEN_ALONG if name in request.headers}
    # Without one it is an open server, or it would not have been let in.
    with suppress(Unauthorized):
        headers["x-api-key"] = key_of(request.headers, request.query)
    return headers


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


def checked_size(answer: bytes) -> bytes:
    """Raises Failed for what is too much to be read by a model."""
    if len(answer) > RESULT_BYTES_MAX:
        raise Failed(
            413,
            "payload_too_large",
            f"the answer has {len(answer)} bytes, of which {RESULT_BYTES_MAX} are given out here: "
            "ask for fewer (limit, k, rows_max) or for a part of each (fields, columns)",
        )
    return answer
