"""Who may ask for what: the one place where a request is let in, whichever door it came through.

With an API key set, the key decides. Without one, whoever reaches the address may do everything,
but for web pages: a browser lets any page of the internet send requests to local servers, so a
page must be of an origin that may use the API, and must have come by a name that is ours.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kissvdb.api.access.auth import check_api_key
from kissvdb.api.access.hosts import Hosts, authority_of, host_of, same_authority
from kissvdb.api.access.origins import Origins
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.principal import ANYBODY, KEY_HOLDER, STRANGER, Principal
from kissvdb.config import Server
from kissvdb.errors import Forbidden

if TYPE_CHECKING:
    from kissvdb.api.bound import Bound


class Admission:
    """Made once per server."""

    def __init__(self, server: Server, origins: Origins, hosts: Hosts) -> None:
        self._key = server.api_key.encode()
        self._origins = origins
        self._hosts = hosts
        # With a key a foreign page has nothing to send; where any page may call, none is foreign.
        self._watches_pages = not self._key and not origins.any

    def admit(self, request: Request, bound: "Bound | None") -> Principal:
        """Who asks. ``bound`` None stands for a route that does not exist: strangers do not learn
        which do. Raises Unauthorized without the key, Forbidden for a foreign page."""
        if self._key:
            if bound is not None and STRANGER.may(bound.route.scope):
                return STRANGER
            check_api_key(request.headers, request.query, self._key)
            return KEY_HOLDER
        headers = request.headers
        # All three here, because this is on the way of every request.
        if "origin" in headers or "sec-fetch-site" in headers or "accept-language" in headers:
            self._check_page(headers)
        return ANYBODY

    def admit_preflight(self, request: Request) -> None:
        """Let a preflight in: it carries no key. Raises Forbidden for a foreign page."""
        if not self._key:
            self.admit(request, None)

    def _check_page(self, headers: Mapping[str, str]) -> None:
        if not self._watches_pages:
            return
        site = headers.get("sec-fetch-site")
        origin = headers.get("origin")
        # Browsers tell the Sec-Fetch headers to https and to loopback only, but their language to
        # everybody, and no page can hold that back. What has a mode without a site is Node.
        if site is None and origin is None and "sec-fetch-mode" in headers:
            return
        host = headers.get("host", "")
        if not self._hosts.know(host):
            raise Forbidden(
                f"a browser asks for {host[:200]!r}, which is not known as a name of this server; "
                "without an API key that is how foreign pages get in: add the name to server.hosts "
                "(KISSVDB_SERVER_HOSTS), or set server.api_key"
            )
        if origin is not None:
            if not self._is_ours(origin, host):
                raise _foreign(f"a page of {origin[:200]!r}", self._origins)
        elif site == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise _foreign("a page of another site", self._origins)

    def _is_ours(self, origin: str, host: str) -> bool:
        if self._origins.allow(origin):
            return True
        authority = authority_of(origin)
        return bool(authority) and (
            same_authority(authority, host) or self._hosts.list(host_of(authority))
        )


def _foreign(page: str, origins: Origins) -> Forbidden:
    return Forbidden(
        f"{page} may not use this server, which has no API key: pages of {origins} may; add its "
        "origin to server.cors_allowed_origins (CORS_ALLOWED_ORIGINS) if it is yours"
    )
