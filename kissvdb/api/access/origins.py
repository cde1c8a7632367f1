"""Which pages may use the API, by their origin (RFC 6454): ``server.cors_allowed_origins``."""

from kissvdb.api.access.hosts import authority_of, host_of, is_local
from kissvdb.config import ANY_ORIGIN


class Origins:
    """None configured: those on loopback, on any port, so that a page under development works."""

    def __init__(self, configured: tuple[str, ...]) -> None:
        self.any = ANY_ORIGIN in configured
        self.listed = frozenset(configured)

    def allow(self, origin: str) -> bool:
        """Whether pages of ``origin`` may read what the API answers."""
        if self.any or origin in self.listed:
            return True
        return not self.listed and is_local(host_of(authority_of(origin)))

    def __str__(self) -> str:
        if self.any:
            return "any origin"
        return ", ".join(sorted(self.listed)) or "loopback origins"
