"""The files of the page at /: modules and styles as they lie in the package, with no build between.

A browser keeps them and asks each time whether they are still current (ETag), so that a new server
is never shown by an old page; what has changed goes out as gzip.
"""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Headers, Request, Response
from kissvdb.errors import NotFound

WEB = Path(__file__).parents[2] / "web"
FOLDERS = ("page", "views", "vendor")
"""Everything in them is served, under /FOLDER/NAME."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

# Scripts and styles only as files of this server; neither frames nor forms, no other host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SAFE: Headers = (
    ("cache-control", "no-cache"),
    ("vary", "Accept-Encoding"),
    ("x-content-type-options", "nosniff"),
)
PAGE: Headers = (
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    *_SAFE,
)


@attrs.frozen
class Kept:
    """A file as it is sent. ``stamp`` tells when it lies there otherwise."""

    stamp: tuple[int, int]
    plain: bytes
    packed: bytes
    tag: str


class PageFiles:
    """What `routes` serves: one for the table of routes. Files are read and packed when they are
    first asked for, and again when they have changed."""

    def __init__(self, folder: Path = WEB) -> None:
        self._folder = folder
        self._kept: dict[str, Kept] = {}
        self._names: frozenset[str] | None = None

    async def index(self, context: Context, request: Request) -> Response:
        """The page: a frame of a few lines that loads /page/app.js."""
        return await self._answer("index.html", request, PAGE)

    async def asset(self, context: Context, request: Request) -> Response:
        """A file of one of the folders. Raises NotFound."""
        name = request.path[1:].partition("/")[0] + "/" + request.params["asset"]
        # An allowlist: nothing a client sends is ever used as a path.
        if name not in self._served():
            raise NotFound(f"no such file: {name[:200]}; start at /")
        return await self._answer(name, request, _SAFE)

    def _served(self) -> frozenset[str]:
        if self._names is None:
            found = (path for folder in FOLDERS for path in (self._folder / folder).iterdir())
            self._names = frozenset(
                f"{path.parent.name}/{path.name}" for path in found if path.suffix in TYPES
            )
        return self._names

    async def _answer(self, name: str, request: Request, headers: Headers) -> Response:
        kept = await trio.to_thread.run_sync(self._look, name)
        packs = takes_gzip(request.headers)
        tag = f'"{kept.tag}-gzip"' if packs else f'"{kept.tag}"'
        headers = (("etag", tag), *headers)
        known = request.headers.get("if-none-match", "")
        if tag in {each.strip().removeprefix("W/") for each in known.split(",")}:
            return Response(status=304, headers=headers)
        type_ = TYPES[Path(name).suffix]
        if not packs:
            return Response(kept.plain, content_type=type_, headers=headers)
        headers = (("content-encoding", "gzip"), *headers)
        return Response(kept.packed, content_type=type_, headers=headers)

    def _look(self, name: str) -> Kept:
        """The file as it is now, in a thread."""
        path = self._folder / name
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        kept = self._kept.get(name)
        if kept is None or kept.stamp != stamp:
            plain = path.read_bytes()
            tag = hashlib.sha256(plain).hexdigest()[:20]
            kept = self._kept[name] = Kept(stamp, plain, gzip.compress(plain, mtime=0), tag)
        return kept


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Whether the client reads gzip (RFC 9110, section 12.5.3)."""
    for each in headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
