"""How much memory and disk the rows of a collection take: counted, not estimated. For a thread.

What is found from the parts of the rows is walked: an array is of the process, or of a file that is
mapped, and then the kernel may drop it when memory is short and read it again. Parts that share an
array count it once. What a vacuum or a reindex makes beside the rows is not theirs yet.
"""

import mmap
import os
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
import numpy as np

from kissvdb.storage.rows.array_file import IndexMapping
from kissvdb.storage.rows.arrays import RowArrays

STEPS_MAX: Final = 500_000
"""Objects looked at, some tenths of a second: a thousand fields in many segments are 100,000."""
_MANY: Final = 4096
"""Of longer lists and tables the first are weighed, and the others taken to be as heavy."""
_PLAIN: Final = (str, int, float, bool, type(None), np.generic)
_SHARED: Final = frozenset({"Kernels", "CollectionSpec", "RowArrays", "TextSettings"})
"""Not of one collection, of no size, or counted by itself."""


@attrs.frozen
class Footprint:
    """Bytes. ``heap``: of the process alone; ``mapped``: of files, as much as is mapped; ``disk``:
    of all files. ``rows``: how many there were, deleted ones among them."""

    heap: int
    mapped: int
    disk: int
    rows: int


def footprint(
    parts: Iterable[object], space: object, directory: Path | None, rows: int
) -> Footprint:
    """Of what can be reached from ``parts``, of the arrays of ``space``, and of the files."""
    heap, mapped = _walked(parts)
    if isinstance(space, RowArrays):
        of_space = space.nbytes()
        if directory is None:
            heap += of_space
        else:
            mapped += of_space
    return Footprint(heap, mapped, _files_bytes(directory), rows)


def _files_bytes(directory: Path | None) -> int:
    if directory is None:
        return 0
    size = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    size += entry.stat().st_size
                except FileNotFoundError:
                    # Replaced by a checkpoint meanwhile.
                    continue
    except OSError:
        # Deleted or renamed meanwhile, or no descriptor is left: a figure is no reason to fail.
        pass
    return size


def _walked(parts: Iterable[object]) -> tuple[int, int]:
    """Bytes of the process, and of mapped index files."""
    seen: dict[int, object] = {}
    heap = mapped = 0
    left: list[Any] = list(parts)
    while left and len(seen) < STEPS_MAX:
        one = left.pop()
        if isinstance(one, _PLAIN) or id(one) in seen:
            continue
        # Kept: else another object may get its id.
        seen[id(one)] = one
        if isinstance(one, IndexMapping):
            mapped += len(one)
        elif isinstance(one, np.ndarray) and one.base is None:
            heap += one.nbytes
        elif isinstance(one, (bytes, bytearray)):
            heap += len(one)
        elif isinstance(one, array):
            heap += len(one) * one.itemsize
        elif isinstance(one, (tuple, list, set, frozenset, deque, dict)):
            some = _entries(one)
            heap += sys.getsizeof(one)
            if len(some) > _MANY:
                heap += _weight(some)
            else:
                left += some
        else:
            left += _inside(one)
    return heap, mapped


def _entries(one: Any) -> list[Any]:
    """A copy: whoever owns it goes on changing it."""
    for _ in range(3):
        try:
            return list(one.values() if isinstance(one, dict) else one)
        except RuntimeError:
            continue
    return []


def _weight(entries: list[Any]) -> int:
    """Of many small objects, by some of them."""
    some = list(islice(entries, 256))
    return sum(map(sys.getsizeof, some)) * len(entries) // len(some)


def _inside(one: Any) -> Iterator[Any]:
    """What is to be looked at in the place of an object."""
    if isinstance(one, np.ndarray):
        yield one.base
    elif isinstance(one, memoryview):
        yield one.obj
    elif isinstance(one, mmap.mmap) or type(one).__name__ in _SHARED:
        # A mapping of the rows' files: the space knows them all.
        return
    elif isinstance(one, msgspec.Struct):
        yield from (getattr(one, name) for name in one.__struct_fields__)
    elif type(one).__module__.startswith("kissvdb."):
        slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        yield from (getattr(one, name, None) for name in slots if name != "__weakref__")
        yield from _entries(getattr(one, "__dict__", {}))
