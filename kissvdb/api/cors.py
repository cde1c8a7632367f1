"""CORS (the Fetch standard): which pages of other origins may use the API."""

from collections.abc import Mapping

from kissvdb.api.http import Headers, Response

EXPOSED = "ETag, Kissvdb-Offset, Kissvdb-Cursor, X-Request-Id, Retry-After"
ALLOWED_HEADERS = (
    "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, X-Api-Key, X-Request-Id"
)
PREFLIGHT_SECONDS = 86_400

_EXPOSE = ("access-control-expose-headers", EXPOSED)
_VARY = ("vary", "Origin")


class Cors:
    """The answers' CORS headers. No origins configured: any may use the API."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any: Headers = () if origins else (("access-control-allow-origin", "*"), _EXPOSE)
        # Vary also for a stranger, or a cache would hand it the answer of a friend.
        self._otherwise: Headers = (_VARY,) if origins else ()
        self._by_origin: dict[str, Headers] = {
            origin: (("access-control-allow-origin", origin), _EXPOSE, _VARY) for origin in origins
        }

    def headers(self, request_headers: Mapping[str, str]) -> Headers:
        """What to add to the answer to a request with these headers."""
        origin = request_headers.get("origin")
        if origin is None:
            return self._otherwise
        return self._any or self._by_origin.get(origin, self._otherwise)

    def preflight(self, allowed: tuple[str, ...]) -> Response:
        """The answer to OPTIONS on a path with these methods."""
        methods = ", ".join(allowed)
        return Response(
            status=204,
            headers=(
                ("allow", methods),
                ("access-control-allow-methods", methods),
                ("access-control-allow-headers", ALLOWED_HEADERS),
                ("access-control-max-age", str(PREFLIGHT_SECONDS)),
            ),
        )
