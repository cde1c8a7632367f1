"""The full binding: Quart-Trio, to be served by Hypercorn (HTTP/1.1, HTTP/2, TLS).

Quart reads the request and writes the answer; routing, checks and errors are `Api.dispatch`'s,
so both doors agree. Quart's own routing is never asked: it would decode ``%2F`` and merge
slashes before anybody could see the raw path.
"""

import logging
from collections.abc import AsyncGenerator
from typing import cast

import trio
from hypercorn.typing import ASGISendCallable, ASGISendEvent, HTTPScope
from quart import Response as QuartResponse
from quart import request
from quart.typing import ResponseTypes
from quart.wrappers.response import IterableBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import RequestTimeout as BodyTimeout

from kissvdb.api.dispatch import Api
from kissvdb.api.frame.http import Answer, Request, StreamResponse
from kissvdb.api.quart.asgi_stream import StreamedRoutes, peer_of
from kissvdb.errors import InvalidArgument, KissError, NotFound, RequestTimeout

# RFC 9110, sections 15.3.5 and 15.4.5.
_BODILESS = (204, 304)

END_SECONDS_MAX = 5.0
"""How long the last part of an answer may take once its client is gone."""

_log = logging.getLogger("kissvdb.api")


def create_app(api: Api) -> QuartTrio:
    """An ASGI app of every route. It starts nothing and holds no task: the caller runs it."""
    app = QuartTrio("kissvdb", static_folder=None)
    app.asgi_http_class = Connection
    app.config["MAX_CONTENT_LENGTH"] = api.config.limits.body_bytes_max
    app.config["BODY_TIMEOUT"] = api.config.server.request_timeout_secs
    app.config["RESPONSE_TIMEOUT"] = api.config.server.request_timeout_secs

    app.asgi_app = StreamedRoutes(api, app.asgi_app)  # type: ignore[method-assign]

    # Before any routing of Quart's, so that it answers every method and every path.
    @app.before_request
    async def answer() -> QuartResponse:
        try:
            body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        except HTTPException as problem:
            received = _request(b"")
            refusal = _refusal(api, problem)
            return _response(received.method, api.refusal(refusal, received))
        received = _request(body)
        return _response(received.method, await api.dispatch(received))

    @app.before_websocket
    async def no_websocket() -> QuartResponse:
        refusal = NotFound("WebSocket is not spoken here: follow GET /v1/stream instead")
        return _response("GET", api.refusal(refusal))

    @app.errorhandler(Exception)
    async def crashed(error: Exception) -> QuartResponse:
        _log.error("the HTTP binding failed", exc_info=error)
        return _response("GET", api.refusal(KissError("a bug in the server stopped this request")))

    return app


class Connection(TrioASGIHTTPConnection):
    """Quart-Trio's, with an end: neither a stream nor a connection stays open behind it."""

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        try:
            await super()._send_response(_with_shielded_end(send), response)
        finally:
            # The client may have left before the body was ever iterated.
            if isinstance(response, QuartResponse) and isinstance(response.response, IterableBody):
                blobs = cast(AsyncGenerator[bytes, None], response.response.iter)
                with trio.CancelScope(shield=True):
                    await blobs.aclose()


def _with_shielded_end(send: ASGISendCallable) -> ASGISendCallable:
    """Hypercorn says http.disconnect while it sends the last message, at which Quart-Trio
    cancels the very task that is sending it: the connection would not be closed, and a client
    that waits for the close would wait until the idle timeout."""

    async def send_shielded(message: ASGISendEvent) -> None:
        ends = message["type"] == "http.response.body" and not message["more_body"]
        if not ends:
            await send(message)
            return
        # Not for ever: over HTTP/2 a client that has left may never take what was sent.
        with trio.move_on_after(END_SECONDS_MAX, shield=True):
            await send(message)

    return send_shielded


def _request(body: bytes) -> Request:
    scope = cast(HTTPScope, request.scope)
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body,
        peer=peer_of(scope),
    )


def _response(method: str, answer: Answer) -> QuartResponse:
    headers = Headers(answer.headers)
    if isinstance(answer, StreamResponse):
        headers["content-type"] = answer.content_type
        response = QuartResponse(answer.body, answer.status, headers)
        response.timeout = None
        return response
    if answer.status in _BODILESS:
        return _bare(answer.status, headers)
    headers["content-type"] = answer.content_type
    if method == "HEAD":
        # The length GET would have; a door that cannot know it (a stream's) says nothing.
        if answer.body:
            headers["content-length"] = str(len(answer.body))
        return _bare(answer.status, headers)
    return QuartResponse(answer.body, answer.status, headers)


def _bare(status: int, headers: Headers) -> QuartResponse:
    """A response without a body: Quart would add a type and a length of its own."""
    response = QuartResponse(b"", status)
    response.headers.clear()
    response.headers.extend(headers)
    return response


def _refusal(api: Api, problem: HTTPException) -> KissError:
    if isinstance(problem, RequestEntityTooLarge):
        return api.too_large()
    if isinstance(problem, BodyTimeout):
        return RequestTimeout(
            f"the body did not arrive within {api.config.server.request_timeout_secs} s "
            "(REQUEST_TIMEOUT_SECS): nothing was done, send it again"
        )
    return InvalidArgument(f"the request is malformed: {problem.description}")
