"""Who may ask for what: the one place where a request is let in, whichever door it came through.

With an API key set, or issued, the key decides. Without one, whoever reaches the address may do
everything, but for web pages: a browser lets any page of the internet send requests to local
servers, so a page must be of an origin that may use the API, and must have come by a name that is
ours.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kissvdb.api.access.auth import HOW, is_same, key_of
from kissvdb.api.access.hosts import Hosts, authority_of, host_of, same_authority
from kissvdb.api.access.origins import Origins
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.principal import ANYBODY, KEY_HOLDER, STRANGER, UNKNOWN, Principal, Scope
from kissvdb.api.frame.starting import still_starting
from kissvdb.config import Server
from kissvdb.core.keys.secret import id_of
from kissvdb.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from kissvdb.api.bound import Bound
    from kissvdb.core.keys.view import IssuedKey
    from kissvdb.engine.keys.model import Keys

SCOPES = {"read": Scope.READ, "write": Scope.WRITE, "admin": Scope.ADMIN}
"""By the role of a key. One that this version does not know may do nothing."""


class Admission:
    """Made once per server."""

    def __init__(self, server: Server, origins: Origins, hosts: Hosts) -> None:
        self._key = server.api_key.encode()
        self._origins = origins
        self._hosts = hosts
        # With a key a foreign page has nothing to send; where any page may call, none is foreign.
        self._watches_pages = not self._key and not origins.any

        self._keys: Keys | None = None
        self._issued: Mapping[str, IssuedKey] = {}
        # Of keys that have asked, for as long as they are what they were then.
        self._holders: dict[tuple[str, bytes], tuple[IssuedKey, Principal]] = {}

    def open(self, keys: "Keys") -> None:
        """From now on it is known which keys were issued."""
        self._keys = keys
        self._issued = keys.view.keys

    def admit(self, request: Request, bound: "Bound | None") -> Principal:
        """Who asks. ``bound`` None stands for a route that does not exist: strangers do not learn
        which do. Raises Unauthorized without the key, Forbidden for a foreign page and for a key
        without the role."""
        if self._key or self._issued:
            return self._admit_by_key(request, bound)
        headers = request.headers
        # All three here, because this is on the way of every request.
        if "origin" in headers or "sec-fetch-site" in headers or "accept-language" in headers:
            self._check_page(headers)
        return ANYBODY

    def admit_preflight(self, request: Request) -> None:
        """Let a preflight in: it carries no key. Raises Forbidden for a foreign page."""
        if not (self._key or self._issued):
            self.admit(request, None)

    def check_again(self, principal: Principal) -> None:
        """Raises Unauthorized if the key of a request that was let in, and had to wait, works no
        more: whatever ends with the key was not there to be ended."""
        if principal.key_id is not None and self._keys is not None:
            self._keys.check(principal.key_id, principal.secret)

    def _admit_by_key(self, request: Request, bound: "Bound | None") -> Principal:
        if bound is not None and STRANGER.may(bound.route.scope):
            return STRANGER
        principal = self._holder(key_of(request.headers, request.query))
        if principal is UNKNOWN:
            if bound is None or not bound.route.recovered:
                raise still_starting()
        elif bound is not None and not principal.may(bound.route.scope):
            refusal = Forbidden(
                f"{bound.route.name} needs the role {bound.route.scope.name.lower()}: this API key "
                f"has {principal.scope.name.lower()}"
            )
            refusal.principal = principal
            raise refusal
        return principal

    def _holder(self, given: str) -> Principal:
        """Who holds this key. Raises Unauthorized."""
        if is_same(given, self._key):
            return KEY_HOLDER
        if self._keys is None:
            if id_of(given):
                return UNKNOWN
            raise Unauthorized(f"the API key is not the server's: {HOW}")
        found = self._keys.authenticate(given)
        if found is None:
            raise Unauthorized(f"the API key is not the server's: {HOW}")
        issued, secret = found
        name = (issued.record.id, secret)
        known = self._holders.get(name)
        if known is None or known[0] is not issued:
            if len(self._holders) > 2 * len(self._issued):
                # Secrets that work no more have stayed.
                self._holders.clear()
            scope = SCOPES.get(issued.record.role, Scope.PUBLIC)
            id_, grants, limits = issued.record.id, issued.grants, issued.limits
            holder = Principal(issued.record.name, scope, id_, grants, secret, limits)
            known = self._holders[name] = issued, holder
        return known[1]

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
