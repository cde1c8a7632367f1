"""Whose request it is, by address: what a proxy says counts only if the proxy is ours.

``X-Forwarded-For`` is a list to whose end each proxy adds who asked it, so it is read from its end:
the first address that is no trusted proxy's is the client's. What stands before it anybody may have
written.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from kissvdb.api.frame.http import Request

UNKNOWN = "unknown"
_CLIENT_BITS = 64
"""Of IPv6: whoever has one address has all that begin so (RFC 6177)."""


class Peers:
    """Knows the proxies that are ours: ``server.trusted_proxies``, addresses or networks."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._networks = [ip_network(each, strict=False) for each in trusted]
        self._trusts = lru_cache(1024)(self._is_trusted)

    def address_of(self, request: Request) -> str:
        """The client's address, plain; ``unknown`` where the door does not say. A proxy that says
        nothing, or nonsense, is the client itself."""
        found = plain(request.peer)
        if not self._networks or found is None or not self._trusts(found):
            return found or UNKNOWN
        for said in reversed(request.headers.get("x-forwarded-for", "").split(",")):
            address = plain(said.strip())
            if address is None:
                break
            found = address
            if not self._trusts(address):
                break
        return found

    def _is_trusted(self, address: str) -> bool:
        found = ip_address(address)
        return any(found in network for network in self._networks)


def caller_of(address: str) -> str:
    """Who is limited together: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in address:
        return address
    return str(IPv6Network((IPv6Address(address), _CLIENT_BITS), strict=False))


@lru_cache(4096)
def plain(text: str) -> str | None:
    """An address in its one form, of IPv4 also where IPv6 wraps it; None for anything else. Some
    proxies add the port, and brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)
