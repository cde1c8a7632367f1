"""The description of the API, its viewer and the clients: files of the package, open to all."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.errors import NotFound

if TYPE_CHECKING:
    from kissvdb.api.frame.route import Route

Page = Callable[[Context, Request], Awaitable[Response]]

WEB = Path(__file__).parents[2] / "web"
HTML = "text/html; charset=utf-8"
YAML = "text/yaml; charset=utf-8"

# An allowlist: nothing a client sends is ever used as a path.
ASSETS = {
    "docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("swagger/swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": ("swagger/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "favicon-32x32.png": ("swagger/favicon-32x32.png", "image/png"),
    "LICENSE": ("swagger/LICENSE", "text/plain; charset=utf-8"),
    "swagger-ui-bundle.js.LICENSE.txt": (
        "swagger/swagger-ui-bundle.js.LICENSE.txt",
        "text/plain; charset=utf-8",
    ),
    "NOTICE": ("swagger/NOTICE", "text/plain; charset=utf-8"),
}

JAVASCRIPT = "text/javascript; charset=utf-8"
TYPESCRIPT = "text/plain; charset=utf-8"

_CACHED = (("cache-control", "public, max-age=3600"), ("x-content-type-options", "nosniff"))

# Nothing from other hosts; Swagger UI sets inline styles and shows images from data: URLs.
_PAGE = (
    (
        "content-security-policy",
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
)


async def docs(context: Context, request: Request) -> Response:
    return Response(await _read("docs.html"), content_type=HTML, headers=_PAGE)


async def client(context: Context, request: Request) -> Response:
    # Looked at again each time: an old client with a new server is nobody's wish.
    headers = (("cache-control", "no-cache"), ("x-content-type-options", "nosniff"))
    text = await _read("client/kissvdb.js")
    return Response(text, content_type=JAVASCRIPT, headers=headers)


async def client_types(context: Context, request: Request) -> Response:
    return Response(await _read("client/kissvdb.d.ts"), content_type=TYPESCRIPT, headers=_CACHED)


async def docs_asset(context: Context, request: Request) -> Response:
    known = ASSETS.get(request.params["asset"])
    if known is None:
        raise NotFound(f"no such file: {request.params['asset']}; start at /docs")
    name, content_type = known
    return Response(await _read(name), content_type=content_type, headers=_CACHED)


def described(table: Callable[[], Sequence["Route"]]) -> Page:
    """The description of a table of routes as a page; made once, when it is first asked for."""

    @cache
    def text() -> bytes:
        # Not with this module: it takes longer to import than the rest of a start.
        from kissvdb.api.description.openapi import document

        return document(table()).encode()

    async def openapi(context: Context, request: Request) -> Response:
        return Response(await trio.to_thread.run_sync(text), content_type=YAML)

    return openapi


async def _read(name: str) -> bytes:
    return await trio.Path(WEB / name).read_bytes()
