"""The full binding: Quart-Trio, to be served by Hypercorn (HTTP/1.1, HTTP/2, TLS).

Quart reads the request and writes the answer; routing, checks and errors are `Api.dispatch`'s,
so both doors agree. Quart's own routing is never asked: it would decode ``%2F`` and merge
slashes before anybody could see the raw path.
"""

import logging
from typing import cast

from hypercorn.typing import HTTPScope
from quart import Response as QuartResponse
from quart import request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import RequestTimeout as BodyTimeout

from kissvdb.api.dispatch import Api
from kissvdb.api.http import Request, StreamResponse
from kissvdb.api.route import Answer
from kissvdb.errors import InvalidArgument, KissError, NotFound, RequestTimeout

_log = logging.getLogger("kissvdb.api")


def create_app(api: Api) -> QuartTrio:
    """An ASGI app of every route. It starts nothing and holds no task: the caller runs it."""
    app = QuartTrio("kissvdb", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = api.config.limits.body_bytes_max
    app.config["BODY_TIMEOUT"] = api.config.server.request_timeout_secs
    app.config["RESPONSE_TIMEOUT"] = api.config.server.request_timeout_secs

    # Before any routing of Quart's, so that it answers every method and every path.
    @app.before_request
    async def answer() -> QuartResponse:
        try:
            body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        except HTTPException as problem:
            received = _request(b"")
            return _response("", api.refusal(_refusal(api, problem), received))
        received = _request(body)
        return _response(received.method, await api.dispatch(received))

    @app.before_websocket
    async def no_websocket() -> QuartResponse:
        refusal = NotFound("WebSocket is not spoken here: follow GET /v1/stream instead")
        return _response("", api.refusal(refusal))

    @app.errorhandler(Exception)
    async def crashed(error: Exception) -> QuartResponse:
        _log.error("the HTTP binding failed", exc_info=error)
        return _response("", api.refusal(KissError("a bug in the server stopped this request")))

    return app


def _request(body: bytes) -> Request:
    scope = cast(HTTPScope, request.scope)
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body,
    )


def _response(method: str, answer: Answer) -> QuartResponse:
    response: QuartResponse
    if isinstance(answer, StreamResponse):
        response = QuartResponse(answer.body, answer.status)
        response.timeout = None
    else:
        bodiless = method == "HEAD" or answer.status in (204, 304)
        response = QuartResponse(b"" if bodiless else answer.body, answer.status)
        if method == "HEAD" and answer.status == 200:
            response.headers["content-length"] = str(len(answer.body))
    del response.headers["content-type"]
    if answer.status not in (204, 304):
        response.headers["content-type"] = answer.content_type
    for name, value in answer.headers:
        response.headers.add(name, value)
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
