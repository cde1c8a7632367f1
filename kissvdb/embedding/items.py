"""What is found: keys and vectors, with their values as Python values."""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from kissvdb.core.state import rules as state


@attrs.frozen
class Item:
    """A key. ``revision`` counts its writes; ``offset`` is the place of the last in the log."""

    key: str
    json: bytes
    """The value as it is kept: JSON text."""
    revision: int
    offset: int
    expires_at_ms: int | None

    @property
    def value(self) -> Any:
        """The value as a Python value, made each time it is asked for: yours to change."""
        return msgspec.json.decode(self.json)


def item_of(found: state.Item) -> Item:
    return Item(found.key, found.value, found.revision, found.offset, found.expires_at_ms)


@attrs.frozen
class Page:
    """Keys in byte order, true at ``offset``. ``cursor``: the ``after`` of the next page, None at
    the end."""

    items: Sequence[Item]
    offset: int
    cursor: str | None


@attrs.frozen
class VectorItem:
    """A vector as it was written: ``vector`` has the numbers as float32 has them, ``meta`` is a
    Python value, ``text`` None for none."""

    id: str
    vector: list[float]
    meta: Any
    expires_at_ms: int | None
    text: str | None = None


@attrs.frozen
class DocumentItem:
    """A document. ``revision`` counts its writes; ``offset`` is the place of the last in the log.

    ``json`` is the document as it is kept."""

    id: str
    json: bytes
    revision: int
    offset: int
    expires_at_ms: int | None

    @property
    def document(self) -> Any:
        """The document as a Python value, made each time it is asked for: yours to change."""
        return msgspec.json.decode(self.json)


@attrs.frozen
class DocumentPage:
    """Documents in an order, true at ``offset``. ``cursor``: that of the next page, None at the
    end."""

    items: Sequence[DocumentItem]
    offset: int
    cursor: str | None


@attrs.frozen
class DocumentHit:
    """A document that was searched for; a higher ``score`` is better."""

    score: float
    item: DocumentItem
