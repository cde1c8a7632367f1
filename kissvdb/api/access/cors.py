"""CORS (the Fetch standard): telling browsers which pages of other origins may read an answer."""

from collections.abc import Mapping

from kissvdb.api.access.origins import Origins
from kissvdb.api.frame.http import Headers, Response

EXPOSED = (
    "ETag, Kissvdb-Epoch, Kissvdb-Offset, Kissvdb-Cursor, X-Request-Id, Retry-After, "
    "RateLimit, RateLimit-Policy"
)
ALLOWED_HEADERS = (
    "Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    "Kissvdb-Epoch, Last-Event-ID, "
    "X-Api-Key, X-Request-Id"
)
PREFLIGHT_SECONDS = 86_400

_EXPOSE = ("access-control-expose-headers", EXPOSED)
_VARY = ("vary", "Origin")
_ANY: Headers = (("access-control-allow-origin", "*"), _EXPOSE)


class Cors:
    """The answers' CORS headers."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        # Vary also where no origin was sent, or a cache would hand that answer to a friend.
        self._without_origin: Headers = (_VARY,) if origins.listed and not origins.any else ()

    def headers(self, request_headers: Mapping[str, str]) -> Headers:
        """What to add to the answer to a request with these headers."""
        origin = request_headers.get("origin")
        if origin is None:
            return self._without_origin
        if self._origins.any:
            return _ANY
        if self._origins.allow(origin):
            return (("access-control-allow-origin", origin), _EXPOSE, _VARY)
        return (_VARY,)

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
