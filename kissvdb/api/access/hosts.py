"""The names this server is reached under: what a Host header, an origin or a target may say.

A name that is not ours, in a request of a browser, is how a foreign page reaches a local server:
the page's own name, made to lead here (DNS rebinding). Addresses are not affected: nobody can make
one lead elsewhere.
"""

import re
from ipaddress import ip_address

from kissvdb.config import Server, is_loopback

# host or host:port, an IPv6 address in brackets (RFC 3986, section 3.2).
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~-]+))(?::[0-9]{0,5})?")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/\s]+)")
_DEFAULT_PORT = re.compile(r":(?:80|443)?$")


def host_of(authority: str) -> str:
    """The host of ``host[:port]`` in lower case, without brackets; empty when it is malformed."""
    match = _AUTHORITY.fullmatch(authority)
    return (match[1] or match[2]).lower() if match else ""


def authority_of(origin: str) -> str:
    """``host[:port]`` of an origin; empty for ``null`` and whatever else has none."""
    match = _ORIGIN.fullmatch(origin)
    return match[1] if match else ""


def is_local(host: str) -> bool:
    """Whether a host means this machine, wherever it is looked up (RFC 6761, section 6.3)."""
    name = host.removesuffix(".")
    return name.endswith(".localhost") or is_loopback(name)


def same_authority(one: str, other: str) -> bool:
    """Whether both lead to the same host and port; a default port may be left out."""
    return _plain(one) == _plain(other)


class Hosts:
    """The hosts that are this server: loopback, any address, its own name and ``server.hosts``."""

    def __init__(self, server: Server) -> None:
        self._listed = frozenset(name.lower() for name in server.hosts)
        self._names = self._listed | {server.bind.lower()}

    def list(self, host: str) -> bool:
        """Whether ``server.hosts`` has this host."""
        return host in self._listed

    def know(self, authority: str) -> bool:
        """Whether ``host[:port]`` is this server."""
        host = host_of(authority)
        return bool(host) and (host in self._names or is_local(host) or _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _plain(authority: str) -> str:
    return _DEFAULT_PORT.sub("", authority.lower())
