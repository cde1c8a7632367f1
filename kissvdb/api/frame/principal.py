"""Who asks, and what it may do. Every request carries one (`Request.principal`)."""

from enum import IntEnum

import msgspec

from kissvdb.core.grants import Grants
from kissvdb.core.quotas import KeyLimits


class Scope(IntEnum):
    """What one must be allowed to do to use a route; each includes those before it."""

    PUBLIC = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Principal(msgspec.Struct, frozen=True):
    """Who asks, and the most that it may do: its role is ``scope``.

    ``key_id`` is of a key that this server issued. ``grants`` None: every name; else only those,
    and nothing that is about the whole database. ``secret`` tells which of a key's secrets was
    sent: while one is replaced, two of them work. ``limits``: what the key has of its own.
    """

    name: str
    scope: Scope
    key_id: str | None = None
    grants: Grants | None = None
    secret: bytes = b""
    limits: KeyLimits | None = None

    def may(self, scope: Scope) -> bool:
        """Whether a route of this scope is open to it."""
        return scope <= self.scope

    @property
    def is_admin(self) -> bool:
        """Whether it may do and see everything, the events of keys included."""
        return self.scope is Scope.ADMIN and self.grants is None


STRANGER = Principal("stranger", Scope.PUBLIC)
"""Who sends no key to a server that wants one."""
UNKNOWN = Principal("unknown", Scope.PUBLIC)
"""Who sends a key while it is not yet known which were issued: it is asked again."""
KEY_HOLDER = Principal("key", Scope.ADMIN)
"""Who sends the key of the configuration."""
ANYBODY = Principal("anybody", Scope.ADMIN)
"""Who asks an open server."""
