"""Routes that take a stream of a body, served straight on ASGI.

Quart collects a body as fast as it comes, whatever its reader does. Here nothing is received
before the operation asks for it, so a client that sends faster than the disk writes is slowed
down by TCP.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from kissvdb.api.dispatch import Api
from kissvdb.api.http import Request, Response
from kissvdb.errors import KissError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


class StreamedRoutes:
    """ASGI middleware: serves streamed routes itself and leaves all others to ``app``."""

    def __init__(self, api: Api, app: App) -> None:
        self._api = api
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self._is_streamed(scope):
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_streamed(self, scope: Scope) -> bool:
        try:
            route, _ = self._api.route(scope["method"], scope["raw_path"].decode("latin-1"))
        except KissError:
            return False
        return route.streamed

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            stream=_body(receive),
        )
        answer = await self._api.dispatch(request)
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
