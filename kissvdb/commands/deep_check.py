"""``kissvdb check --deep``: indexes are built anew and compared, documents with their keys."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np

from kissvdb.commands import deep_sql
from kissvdb.core.rows import rebuild
from kissvdb.core.rows.checkpoint import Opened
from kissvdb.core.state import reserved_keys
from kissvdb.storage import check as storage_check
from kissvdb.storage.log.inspection import CheckReport
from kissvdb.storage.sql.connecting import read_only

if TYPE_CHECKING:
    from kissvdb.storage.rows import files as row_files

PROBLEMS_MAX = 3
"""Said of one collection; where there is one there are often thousands."""
_MADE_ANEW = "remove that file, and the next start makes it anew"
_NOT_MADE_ANEW = "restore a backup, or delete the collection and load it again"


@attrs.frozen
class DeepCheck:
    """Compares a collection's indexes with its rows, and rows of documents with the state tables
    in ``directory``. Raises Damaged when rows are. ``notes``: what a server makes anew or mends,
    besides indexes whose files are damaged."""

    directory: Path
    notes: list[str] = attrs.field(factory=list, eq=False)

    def __call__(self, opened: "row_files.Opened") -> list[str]:
        """What differs."""
        parts, differences = rebuild.differences(
            opened.manifest, opened.indexes, opened.damaged, opened.arrays
        )
        known = tuple(f"the index {name!r} " for name in opened.damaged)
        of = f"collection {parts.spec.name!r}"
        self.notes.extend(f"{of}: {each}" for each in parts.warnings if not each.startswith(known))
        problems = []
        for each in differences:
            remedy = _NOT_MADE_ANEW if each.index == "rows" else _MADE_ANEW
            file = opened.index_files[each.index]
            wrong = f"the index {each.index!r} ({file}) is not what its rows say"
            problems.append(f"{wrong}: {each.reason}: {remedy}")
        if parts.spec.holds_documents and not differences:
            for problem in _differences_to_keys(self.directory, parts):
                if len(problems) == PROBLEMS_MAX:
                    break
                problems.append(f"{problem}; remove this directory, and it is made anew")
        return problems


def check(directory: Path) -> CheckReport:
    """What ``kissvdb check --deep`` reports."""
    verify_rows = DeepCheck(directory)
    report = storage_check.check(directory, verify_rows)
    report = attrs.evolve(report, notes=(*report.notes, *verify_rows.notes))
    return deep_sql.compared(directory, report)


@attrs.frozen
class _Key:
    """A document as its key holds it, in a table that has applied ``applied_offset``."""

    id: str
    value: bytes
    revision: int
    offset: int
    applied_offset: int


def _differences_to_keys(directory: Path, parts: Opened) -> Iterator[str]:
    """Tables and index may have applied different offsets: what was written between them, and can
    be known to one only, is left to the next start, which brings both up to date."""
    data, index_offset = parts.store.view(), parts.offset
    seen = np.zeros(data.count, np.bool_)
    applied: list[int] = []
    for table in sorted(directory.glob("state-*.db")):
        for key in _keys(table, parts.spec.name, applied):
            row = parts.ids.get(key.id)
            if row is not None:
                seen[row] = True
                found = data.stored(row)
                if found.offset != key.offset:
                    if found.offset <= key.applied_offset and key.offset <= index_offset:
                        yield f"document {key.id!r} is of offset {found.offset}, not {key.offset}"
                elif (found.meta, found.revision) != (key.value, key.revision):
                    yield f"document {key.id!r} is not what its key holds"
            elif key.offset <= index_offset <= key.applied_offset:
                yield f"document {key.id!r} has no row"
    if index_offset < max(applied, default=0):
        return
    for row in np.flatnonzero(~seen).tolist():
        id_ = data.id_at(row)
        if parts.ids.get(id_) == row and data.stamp(row)[1] <= min(applied, default=0):
            yield f"document {id_!r} has no key"


def _keys(table: Path, collection: str, applied: list[int]) -> Iterator[_Key]:
    """The documents of a collection in one table, whose applied offset is added to ``applied``."""
    prefix = reserved_keys.document_prefix(collection)
    with closing(read_only(table)) as connection:
        row = connection.execute("SELECT v FROM meta WHERE k = 'applied'").fetchone()
        assert row is not None, "the table was found sound"
        applied.append(row[0])
        rows = connection.execute(
            "SELECT key, value, revision, off FROM kv WHERE key >= ? AND key < ?",
            (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)),
        )
        for key, value, revision, offset in rows:
            id_ = key[len(prefix) :]
            if id_:
                yield _Key(id_, value.encode(), revision, offset, applied[-1])
