"""The live stream, read by the server itself: its frames as what happened to what."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.core.state.reserved_keys import DOCUMENT_PREFIX


class Happened(msgspec.Struct):
    """An event of the log, with its data as it came."""

    offset: int | None
    ts_ms: int
    type: str
    data: msgspec.Raw


class Gap(msgspec.Struct):
    """What will not come."""

    from_offset: int
    to_offset: int
    reason: str


class Subject(msgspec.Struct):
    """What data is about: a key, or a vector."""

    key: str = ""
    collection: str = ""
    id: str = ""
    value: msgspec.Raw | UnsetType = UNSET
    revision: int = 0
    expires_at_ms: int | None = None
    reason: str = ""


_happened = msgspec.json.Decoder(Happened).decode
_gap = msgspec.json.Decoder(Gap).decode
_subject = msgspec.json.Decoder(Subject).decode

_UPDATED, _DELETED = "state_updated", "state_deleted"
KEY_TYPES = (_UPDATED, _DELETED)


def events_of(blob: bytes) -> Iterator[Happened | Gap]:
    """Of whole frames, as a subscription hands them out. How a stream ends is no event of these."""
    for frame in blob.split(b"\n\n"):
        head, _, data = frame.partition(b"\ndata: ")
        if not data or head == b"event: error" or head == b"event: ended":
            continue
        yield _gap(data) if head.startswith(b"event: gap\n") else _happened(data)


def subject_of(event: Happened) -> Subject:
    """What an event of the database itself is about; nothing is known of what users publish."""
    if not event.type.startswith(("state_", "vector_")):
        return Subject()
    return _subject(event.data)


def document_of(key: str) -> tuple[str, str] | None:
    """The collection and the id of a document, by its key."""
    if not key.startswith(DOCUMENT_PREFIX):
        return None
    collection, colon, id_ = key[len(DOCUMENT_PREFIX) :].partition(":")
    return (collection, id_) if colon else None
