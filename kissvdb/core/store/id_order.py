"""Rows in the order of their ids, told by the ids' bytes: no id becomes a Python string.

UTF-8 sorts as its code points do. Ids are compared eight bytes at a time, all rows at once; only
those that tie go on to the next eight.
"""

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Flags
from kissvdb.core.store.space import RowData

Numbers = npt.NDArray[np.int64]

_WORD = 8
# Of a word whose id has so many bytes left.
_KEPT = np.array([(2**64 - 1) ^ (2 ** (64 - 8 * n) - 1) for n in range(_WORD + 1)], np.uint64)


def first_by_id(data: RowData, rows: Numbers, want: int) -> Numbers:
    """Rows among which are the ``want`` (1 or more) with the smallest ids, in no order; more than
    ``want`` only where ids differ in zero bytes at the end. ``rows``: int64, of different ids."""
    chosen = []
    ids = _Ids.of(data, rows)
    while len(ids.rows) > want and ids.some_go_on:
        words = ids.next_words(data)
        last = np.partition(words, want - 1)[want - 1]
        sure = ids.rows[words < last]
        chosen.append(sure)
        want -= len(sure)
        ids = ids.only(words == last)
    return np.concatenate([*chosen, ids.rows])


def behind_id(data: RowData, rows: Numbers, id_: str) -> Numbers:
    """The rows whose ids come after ``id_``. ``rows``: int64."""
    behind = []
    name = id_.encode()
    ids = _Ids.of(data, rows)
    at = 0
    while len(ids.rows) and (ids.some_go_on or at < len(name)):
        words = ids.next_words(data)
        word = np.uint64(int.from_bytes(name[at : at + _WORD].ljust(_WORD, b"\0"), "big"))
        behind.append(ids.rows[words > word])
        ids = ids.only(words == word)
        at += _WORD
    # It itself, or the same and zero bytes at the end of one of them.
    rest = [row for row in ids.rows.tolist() if data.id_at(row) > id_]
    return np.concatenate([*behind, np.array(rest, np.int64)])


@attrs.frozen(eq=False)
class _Ids:
    """What is still to be compared of the ids of rows: from where in the blob, how many bytes."""

    rows: Numbers
    starts: Numbers
    lengths: Numbers

    @classmethod
    def of(cls, data: RowData, rows: Numbers) -> "_Ids":
        ends = data.ends
        starts = np.take(ends[:, 1], rows - 1)
        if len(rows) and rows[0] == 0:
            starts[0] = 0
        return cls(rows, starts, np.take(ends[:, 0], rows) - starts)

    @property
    def some_go_on(self) -> bool:
        return bool(self.lengths.max(initial=0) > 0)

    def only(self, mask: Flags) -> "_Ids":
        """What comes behind the next eight bytes, of these rows."""
        return _Ids(self.rows[mask], self.starts[mask] + _WORD, self.lengths[mask] - _WORD)

    def next_words(self, data: RowData) -> npt.NDArray[np.uint64]:
        """The next eight bytes of each id as one number, the first byte highest; zero bytes
        behind its end."""
        # Every place of the blob as the begin of eight bytes. Its last seven have no eight.
        blob = data.blob
        windows = len(blob) - _WORD + 1
        every = np.ndarray((max(windows, 0),), ">u8", blob.data, strides=(1,))
        words = np.zeros(len(self.rows), np.uint64)
        there = self.lengths > 0
        inside = there & (self.starts < windows)
        if inside.all():
            words[:] = every[self.starts]
        else:
            words[inside] = every[self.starts[inside]]
            for place in np.flatnonzero(there & ~inside).tolist():
                start, length = int(self.starts[place]), int(self.lengths[place])
                octets = blob[start : start + length].tobytes()[:_WORD]
                words[place] = int.from_bytes(octets.ljust(_WORD, b"\0"), "big")
        return words & _KEPT[np.clip(self.lengths, 0, _WORD)]
