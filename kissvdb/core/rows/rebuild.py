"""Every index of a checkpoint beside what its rows say: what ``kissvdb check --deep`` compares.

The rows are compared with their checksums first; then each index that can be opened is built anew
from them. One that cannot be opened is no difference: it is made anew at the next start.
"""

from collections.abc import Callable, Iterator, Mapping

import attrs
import numpy as np

from kissvdb.core import bitmaps
from kissvdb.core.index import soundness
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.index.kinds import empty_index
from kissvdb.core.metadata import comparison as metadata_comparison
from kissvdb.core.postings import comparison as text_comparison
from kissvdb.core.postings import segment_arrays
from kissvdb.core.postings.vocabulary import Vocabulary
from kissvdb.core.rows import checkpoint
from kissvdb.core.rows.checkpoint import Arrays, Opened
from kissvdb.core.rows.texts import RowTexts
from kissvdb.core.store.id_map import SALT_BYTES, IdMap
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.text.index import TextIndex
from kissvdb.errors import Damaged


@attrs.frozen
class Difference:
    """An index that says something else than its rows; ``rows`` is the one of tombstones."""

    index: str
    reason: str


def differences(
    manifest: Mapping[str, object],
    indexes: Mapping[str, Arrays],
    damaged: Mapping[str, str],
    space: Space,
) -> tuple[Opened, list[Difference]]:
    """The rows of a checkpoint, and where its indexes differ from them; ``warnings`` say also what
    a server would mend. Changes nothing.

    Arguments as for ``checkpoint.opened``. Raises Damaged when rows are.
    """
    checkpoint.verify(manifest, indexes, damaged, space)
    parts = checkpoint.opened(manifest, indexes, damaged, space, bytes(SALT_BYTES), Kernels())
    if not parts.index.is_sound(parts.code_sums):
        parts.warnings.append(
            f"the index {parts.index.name!r} is made anew from the rows: its codes do not match "
            "their checksum"
        )
        parts.index = empty_index(parts.spec, Kernels())
    compare: dict[str, Callable[[], Iterator[str]]] = {
        "rows": lambda: _tombstones(parts),
        "ids": lambda: _ids(parts),
        "metadata": lambda: _metadata(parts),
        "text": lambda: _text(parts, indexes["text"]),
        parts.index.name: lambda: _index(parts),
    }
    names = [name for name in compare if name in indexes]
    found = [(name, _first(compare[name])) for name in names]
    return parts, [Difference(name, reason) for name, reason in found if reason is not None]


def _first(differ: Callable[[], Iterator[str]]) -> str | None:
    try:
        return next(differ(), None)
    except (Damaged, LookupError, ValueError, ArithmeticError) as error:
        # What leads to no row, or to no word, ends so.
        return f"it cannot be read ({error})"


def newest_rows(data: RowData) -> dict[str, int]:
    """The newest row of every id, dead or not."""
    return {data.id_at(row): row for row in range(data.count)}


def _tombstones(parts: Opened) -> Iterator[str]:
    data, dead = parts.store.view(), parts.dead.view()
    numbers = bitmaps.row_numbers(dead.words)
    if len(numbers) and int(numbers[-1]) >= data.count:
        yield f"row {numbers[-1]} is dead, and there are {data.count} rows"
    newest = set(newest_rows(data).values())
    for row in range(data.count):
        if row not in newest and not dead.is_dead(row):
            yield f"row {row} lives, and its id {data.id_at(row)!r} was written again"


def _ids(parts: Opened) -> Iterator[str]:
    data, dead, ids = parts.store.view(), parts.dead.view(), parts.ids
    anew = IdMap(bytes(SALT_BYTES))
    for row in range(data.count):
        id_ = data.id_at(row)
        if ids.id_at(row) != id_:
            yield f"row {row} is {ids.id_at(row)!r}, not {id_!r}"
        anew.put(id_, row)
        if dead.is_dead(row):
            anew.delete(id_)
    for id_ in newest_rows(data):
        if ids.get(id_) != anew.get(id_):
            yield f"id {id_!r} is row {ids.get(id_)}, not {anew.get(id_)}"
    if len(ids) != len(anew):
        yield f"{len(ids)} ids live, not {len(anew)}"


def _metadata(parts: Opened) -> Iterator[str]:
    yield from metadata_comparison.differences(parts.metadata.view(), parts.store.view().document)


def _text(parts: Opened, stored: Arrays) -> Iterator[str]:
    data = parts.store.view()
    # There is room for so many fields, and which ones came first the rows may not tell any more.
    vocabulary = Vocabulary()
    for path in segment_arrays.decode(stored).paths:
        vocabulary.add_field(path)
    kernels = Kernels()
    index = TextIndex(parts.spec.text_settings, kernels, vocabulary)
    anew = RowTexts(parts.spec, kernels, index)
    anew.extend_from(0, data, np.arange(data.count))
    view = anew.view()
    assert view is not None, "there is an index"
    yield from text_comparison.differences(stored, view.to_arrays())


def _index(parts: Opened) -> Iterator[str]:
    notes: list[str] = []
    found = soundness.differences(parts.index, parts.store.view().count, notes)
    parts.warnings.extend(f"the index {parts.index.name!r}: {note}" for note in notes)
    yield from found
