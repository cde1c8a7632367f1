"""What is done to rows: a row is written, or an id deleted.

Of vectors these are the records of the log. Documents are state keys, so their rows are derived: of
each ``KeyWritten`` or ``KeyDeleted``, or of the items of the state tables, a change is made here.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any, ClassVar

import msgspec

from kissvdb.core.index.kernels import Kernels
from kissvdb.core.metadata.flat import DOCUMENTS_MIN, Flat
from kissvdb.core.store.space import Row
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.fields import TEXTS_MAX
from kissvdb.records import VectorDeleted, VectorWritten


class DocumentWritten(msgspec.Struct, frozen=True, gc=False):
    """A document as it is now. ``document``: JSON text; ``offset``: of the record that wrote it."""

    id: str
    document: bytes
    revision: int
    offset: int
    expires_at_ms: int | None = None
    # The state remembers operations, for its keys.
    op_id: ClassVar[None] = None


class DocumentDeleted(msgspec.Struct, frozen=True, gc=False):
    """A document is there no more."""

    id: str
    op_id: ClassVar[None] = None


Change = VectorWritten | VectorDeleted | DocumentWritten | DocumentDeleted


def row_of(change: VectorWritten | DocumentWritten) -> Row:
    """The row that is to be appended."""
    if isinstance(change, VectorWritten):
        return Row(change.id, change.vector, change.meta, change.expires_at_ms, change.text)
    stamp = change.revision, change.offset
    return Row(change.id, b"", change.document, change.expires_at_ms, None, stamp)


def rows_of(changes: Sequence[VectorWritten | DocumentWritten]) -> list[Row]:
    """`row_of` each of them."""
    if set(map(type, changes)) != {DocumentWritten}:
        return list(map(row_of, changes))
    found: Sequence[Any] = changes
    return list(
        map(
            Row,
            [each.id for each in found],
            repeat(b""),
            [each.document for each in found],
            [each.expires_at_ms for each in found],
            repeat(None),
            [(each.revision, each.offset) for each in found],
        )
    )


def filling(spec: CollectionSpec) -> tuple[Change, Change]:
    """A change that writes a row of nothing, and one that deletes it."""
    if spec.holds_documents:
        return DocumentWritten("", b"", 0, 0), DocumentDeleted("")
    nothing = VectorWritten("", spec.name, "", bytes(spec.vector_bytes))
    return nothing, VectorDeleted(spec.name, "", "")


def taken_apart(rows: Sequence[Row], kernels: Kernels, fields_max: int) -> Flat | None:
    """What columns and texts of many rows are made of, without decoding each; None if they are
    not many, or not alike enough."""
    if len(rows) < DOCUMENTS_MIN or kernels.documents is None:
        return None
    flat: Flat | None = kernels.documents.taken_apart([row.meta or b"" for row in rows])
    if flat is None or len(flat.paths) > fields_max:
        return None
    return flat if flat.strings_max <= TEXTS_MAX else None
