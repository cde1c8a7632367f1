"""The rules of key-value state: what a command does to a key, and what it answers.

Sync and deterministic: the time is an argument, the table is whatever answers ``get``. A batch
is decided against the table *plus the batch so far*; nothing is applied before it is logged.
"""

from collections.abc import Callable, Sequence

import attrs

from kissvdb.core import merge_patch
from kissvdb.errors import InvalidArgument, PayloadTooLarge, PreconditionFailed, RevisionMismatch
from kissvdb.records import KeyDeleted, KeyWritten

U64_MAX = 2**64 - 1
# Far enough for every TTL (year 292,278,994) and still a SQLite integer.
EXPIRES_AT_MS_MAX = 2**63 - 1


@attrs.frozen
class Item:
    """A key as it is stored. ``offset`` is that of the record that wrote it."""

    key: str
    value: bytes
    revision: int
    offset: int
    expires_at_ms: int | None = None


@attrs.frozen
class Precondition:
    """What must hold for a write: any that is not None is checked.

    ``revision`` 0 means "the key must be absent". ``offset`` compares with the offset of the
    key's last write and so also notices a delete and re-create (no ABA). ``absent`` False means
    "the key must exist" (If-Match: *). ``from_header`` chooses 412 instead of 409.
    """

    revision: int | None = None
    offset: int | None = None
    absent: bool | None = None
    from_header: bool = False


ALWAYS = Precondition()


@attrs.frozen
class Put:
    """Set a key. ``value`` is compact JSON. Without ``ttl_ms`` a former TTL is cleared."""

    key: str
    value: bytes
    ttl_ms: int | None = None
    precondition: Precondition = ALWAYS
    op_id: str | None = None


@attrs.frozen
class Patch:
    """RFC 7396 merge patch of a key's value; a missing key is patched from null.

    Without ``ttl_ms`` the key keeps the TTL it has: a progress update must not make it eternal.
    """

    key: str
    patch: bytes
    ttl_ms: int | None = None
    precondition: Precondition = ALWAYS
    op_id: str | None = None


@attrs.frozen
class Delete:
    """Remove a key. A missing key is not an error: the answer says ``deleted`` false."""

    key: str
    precondition: Precondition = ALWAYS
    op_id: str | None = None


@attrs.frozen
class Expire:
    """Remove the keys whose time has come, at most ``limit`` of them."""

    limit: int = 256


@attrs.frozen
class Written:
    """The answer to Put and Patch."""

    key: str
    revision: int
    offset: int
    expires_at_ms: int | None = None


@attrs.frozen
class Deleted:
    """The answer to Delete. ``offset`` is None when there was nothing to delete."""

    deleted: bool
    offset: int | None = None


Command = Put | Patch | Delete
Answer = Written | Deleted


@attrs.frozen
class Page:
    """A slice of keys in ascending byte order, true at ``offset``; ``cursor`` None at the end."""

    items: Sequence[Item]
    offset: int
    cursor: str | None = None
