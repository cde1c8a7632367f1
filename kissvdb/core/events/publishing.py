"""User events: what a client may append, and the types that belong to the database."""

from collections.abc import Sequence
from typing import cast

import attrs
import msgspec

from kissvdb.core.grants import Grants
from kissvdb.records import EventPublished

RESERVED_PREFIXES = ("state_", "vector_", "doc_", "sql_", "api_key_")
RESERVED_TYPES = frozenset({"gap", "message", "error", "open", "ended", "batch_committed", "audit"})
"""`message`, `error` and `open` have a meaning of their own in a browser's EventSource."""


class Publish(msgspec.Struct, frozen=True):
    """Append an event, or with ``transient`` only stream it. ``data`` is compact JSON."""

    type: str
    data: bytes
    key: str | None = None
    tags: tuple[str, ...] = ()
    transient: bool = False
    op_id: str | None = None
    collection: str | None = None
    """Of the database's own transient events."""


class Published(msgspec.Struct, frozen=True):
    """``offset`` is None for a transient event: it is not in the log."""

    offset: int | None
    repeated: bool = False


def record_of(event: Publish, fingerprint: bytes | None = None) -> EventPublished:
    """The record that an event is logged as. ``fingerprint``: of an operation with an op_id."""
    return EventPublished(event.type, event.data, event.key, event.tags, event.op_id, fingerprint)


def plain_events(commands: Sequence[object]) -> Sequence[Publish] | None:
    """The commands, if all are events that nobody needs to decide (no ``op_id``); else None."""
    for command in commands:
        if type(command) is not Publish or command.op_id is not None:
            return None
    return cast(Sequence[Publish], commands)


@attrs.frozen
class StreamQuery:
    """What a subscriber wants: events with offset > ``since`` that pass every given filter.

    ``since`` None means from now on. ``types`` empty means all. ``key`` and ``key_prefix`` look
    at the event's key, ``collection`` at its collection, ``table`` at its SQL table, ``job_id`` at
    ``job_id`` in the value or data, ``tag`` at its tags; both match numbers and texts. Without
    ``vectors`` the events of vectors come without their numbers.
    """

    since: int | None = 0
    types: frozenset[str] = frozenset()
    key: str | None = None
    key_prefix: str | None = None
    collection: str | None = None
    table: str | None = None
    job_id: str | None = None
    tag: str | None = None
    vectors: bool = True
    epoch: str | None = None
    """The epoch that ``since`` is a place in; None: the client does not say."""
    grants: Grants | None = None
    """Only events about what is granted; None: about anything."""
    private: bool = True
    """Whether events of keys and audits are among them."""
