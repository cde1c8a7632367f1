"""Documents of /search as rows of a vector collection: how one is kept, and how it is read.

A document is one row, under its number; in chunks it is several, ``7#0``, ``7#1`` and so on. A
row's metadata is the document's, with two members more: ``_document`` is its number, ``_chunk``
which piece of it the row is.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.core.filters.parse import And, In, Node

if TYPE_CHECKING:
    from kissvdb.core.store.spec import StoredRow

COLLECTION = "search"
"""Where they are: a vector collection as all others are."""
NUMBER = "_document"
CHUNK = "_chunk"


class Piece(msgspec.Struct, frozen=True):
    """A part of a document's content: characters ``start`` up to ``end``, and its place among the
    others."""

    index: int
    start: int
    end: int


def row_id(number: int, piece: Piece | None) -> str:
    """The id of a document's row."""
    return str(number) if piece is None else f"{number}#{piece.index}"


def row_meta(number: int, metadata: dict[str, Any], piece: Piece | None) -> bytes:
    """The metadata of a document's row, as JSON."""
    members = {**metadata, NUMBER: number}
    if piece is not None:
        members[CHUNK] = piece
    return msgspec.json.encode(members)


def rows_of(number: int) -> Node:
    """The filter that all rows of a document pass, and no other."""
    return In(NUMBER, (number,))


def number_of(row: "StoredRow", meta: Any) -> int:
    """The document's number. A row that somebody else wrote has one if its id is one."""
    number = meta.get(NUMBER) if isinstance(meta, dict) else None
    if type(number) is int:
        return number
    return int(row.id) if row.id.isascii() and row.id.isdigit() else 0


def shown(row: "StoredRow") -> dict[str, Any]:
    """The document of a row, and its chunk if it is one: members of a result."""
    meta = None if row.meta is None else msgspec.json.decode(row.meta)
    members = dict(meta) if isinstance(meta, dict) else {}
    number, piece = number_of(row, meta), members.pop(CHUNK, None)
    members.pop(NUMBER, None)
    document = {"id": number, "content": row.text or "", "metadata": members}
    return {"document": document} | ({} if piece is None else {"chunk": piece})


def filter_of(**wanted: Any) -> Node | None:
    """The filter that documents pass whose fields have one of the values wanted; None for any."""
    parts = [
        In(field, (values,) if isinstance(values, str) else tuple(values))
        for field, values in wanted.items()
        if values is not None
    ]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(tuple(parts))
