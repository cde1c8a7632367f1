"""What is done straight on ASGI, before Quart: targets in absolute form, and routes that take a
stream of a body.

Quart collects a body as fast as it comes, whatever its reader does. Here nothing is received
before the operation asks for it, so a client that sends faster than the disk writes is slowed
down by TCP.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from kissvdb.api.dispatch import Api
from kissvdb.api.frame.http import Answer, Request, Response
from kissvdb.errors import InvalidArgument, KissError

# RFC 9112, section 3.2.2. Without a path it is the root.
_ABSOLUTE_FORM = re.compile(r"https?://([^/?]*)(/.*)?", re.IGNORECASE | re.DOTALL)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


class StreamedRoutes:
    """ASGI middleware: serves streamed routes itself and leaves all others to ``app``. A target
    that names this server becomes its path, and its host the request's."""

    def __init__(self, api: Api, app: App) -> None:
        self._api = api
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope["raw_path"].startswith(b"/"):
            try:
                scope = self._in_origin_form(scope)
            except KissError as refusal:
                await _send(self._api.refusal(refusal, _request(scope)), send)
                return
        if scope["type"] == "http" and self._is_streamed(scope):
            await _send(await self._api.dispatch(_request(scope, _body(receive))), send)
        else:
            await self._app(scope, receive, send)

    def _in_origin_form(self, scope: Scope) -> Scope:
        """The scope of the same request with only the path in its target. Raises InvalidArgument
        for a target that is another server's, as one gets who takes this one for a proxy."""
        match = _ABSOLUTE_FORM.fullmatch(scope["raw_path"].decode("latin-1"))
        if match is None:
            return scope
        authority, path = match[1], match[2] or "/"
        if not self._api.knows(authority):
            raise InvalidArgument(
                f"the target names {authority[:200]!r}, which is not known as this server: send "
                "the path alone, or add the name to server.hosts (KISSVDB_SERVER_HOSTS)"
            )
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        host = (b"host", authority.encode("latin-1"))
        return {
            **scope,
            "path": path,
            "raw_path": path.encode("latin-1"),
            "headers": [*headers, host],
        }

    def _is_streamed(self, scope: Scope) -> bool:
        try:
            route, _ = self._api.route(scope["method"], scope["raw_path"].decode("latin-1"))
        except KissError:
            return False
        return route.streamed


def _request(scope: Scope, body: AsyncIterator[bytes] | None = None) -> Request:
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        stream=body,
        peer=peer_of(scope),
    )


def peer_of(scope: Any) -> str:
    """The address at the other end of the connection; empty when the server does not say."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    headers.append((b"content-type", answer.content_type.encode()))
    if isinstance(answer, Response):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    start = {"type": "http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    if isinstance(answer, Response):
        await send({"type": "http.response.body", "body": answer.body})
        return
    async with aclosing(answer.body) as blobs:  # type: ignore[type-var]
        async for blob in blobs:
            await send({"type": "http.response.body", "body": blob, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return
