"""A sorted set of strings in two arrays, so that it can be memory-mapped.

A string is held by its key: its UTF-8 bytes, or if it is longer than KEY_BYTES_MAX, the first
KEY_BYTES_MAX of them and then CUT. CUT is above every byte of UTF-8, so keys sort like the
strings they stand for; only strings with the same cut key cannot be told apart.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

KEY_BYTES_MAX = 64
"""Long enough for a SHA-256 in hex; enough of a text to narrow it down to few rows."""
CUT = b"\xff"


def key_of(text: str) -> bytes:
    """The key of a string. Lone surrogates are kept, in code point order."""
    return keys_of((text,))[0]


def keys_of(texts: Iterable[str]) -> list[bytes]:
    """The keys of strings."""
    keys = [text.encode("utf-8", "surrogatepass") for text in texts]
    if keys and max(map(len, keys)) > KEY_BYTES_MAX:
        keys = [key if len(key) <= KEY_BYTES_MAX else key[:KEY_BYTES_MAX] + CUT for key in keys]
    return keys


def is_cut(key: bytes) -> bool:
    """Whether the key stands for more than one string."""
    return key.endswith(CUT)


@attrs.frozen(eq=False)
class StringTable:
    """Keys in ascending order. ``offsets`` is uint32[n + 1] into ``blob``, uint8[offsets[n]]."""

    offsets: npt.NDArray[np.uint32]
    blob: npt.NDArray[np.uint8]
    # A memoryview hands out Python ints and bytes 4x faster than an array does.
    _starts: memoryview = attrs.field(init=False, repr=False)
    _octets: memoryview = attrs.field(init=False, repr=False)

    @_starts.default
    def _view_offsets(self) -> memoryview:
        return self.offsets.data

    @_octets.default
    def _view_blob(self) -> memoryview:
        return self.blob.data

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> "StringTable":
        """The table of distinct keys in ascending order."""
        offsets = np.fromiter(accumulate(map(len, keys), initial=0), np.uint32, len(keys) + 1)
        return cls(offsets, np.frombuffer(b"".join(keys), np.uint8))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def key(self, place: int) -> bytes:
        """The key at a place, 0 to len - 1."""
        return self._octets[self._starts[place] : self._starts[place + 1]].tobytes()

    def left(self, key: bytes) -> int:
        """The place of the first key >= ``key``."""
        return bisect_left(range(len(self)), key, key=self.key)

    def right(self, key: bytes) -> int:
        """The place of the first key > ``key``."""
        return bisect_right(range(len(self)), key, key=self.key)

    def keys(self) -> list[bytes]:
        blob = bytes(self._octets)
        return [blob[start:stop] for start, stop in pairwise(self._starts)]

    def take(self, places: npt.NDArray[np.integer[Any]]) -> "StringTable":
        """The table of the keys at these ascending places."""
        keys = self.keys()
        return StringTable.of([keys[place] for place in places.tolist()])


EMPTY = StringTable.of([])


def merge(tables: Iterable[StringTable]) -> tuple[StringTable, list[npt.NDArray[np.uint32]]]:
    """The union of tables, and for each of them where its keys are in the union."""
    lists = [table.keys() for table in tables]
    # The lists are sorted runs, which Python's sort merges in linear time.
    runs = [key for keys in lists for key in keys]
    runs.sort()
    place = {key: number for number, key in enumerate(dict.fromkeys(runs))}
    places = [np.fromiter(map(place.__getitem__, keys), np.uint32, len(keys)) for keys in lists]
    return StringTable.of(list(place)), places
