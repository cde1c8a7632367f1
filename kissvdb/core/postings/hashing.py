"""The hash table of a vocabulary's keys: linear probing in an array of slots, by numpy for many
keys at once. A slot holds an entry's number and 1, or 0."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MULTIPLIER: Final = 0x9E3779B97F4A7C15
_MASK: Final = 2**64 - 1
_WORD_BYTES: Final = 8


def hash_of(key: bytes, salt: int) -> int:
    """64 bits of a key: multiplied in by eight bytes at a time, the last padded with zeros.

    ``salt`` is secret, so nobody can choose words that fall into one place.
    """
    value = salt ^ len(key)
    for start in range(0, len(key), _WORD_BYTES):
        word = int.from_bytes(key[start : start + _WORD_BYTES], "little")
        value = ((value ^ word) * MULTIPLIER) & _MASK
        value ^= value >> 32
    return value


def hashes_of(keys: Sequence[bytes], salt: int) -> npt.NDArray[np.uint32]:
    """The lower 32 bits of ``hash_of`` each of the keys."""
    sizes = np.fromiter(map(len, keys), np.int64, len(keys))
    width = -(-int(sizes.max(initial=0)) // _WORD_BYTES)
    padded = b"".join([key.ljust(width * _WORD_BYTES, b"\0") for key in keys])
    words = np.frombuffer(padded, "<u8").reshape(len(keys), width)
    values = np.uint64(salt) ^ sizes.astype(np.uint64)
    for column in range(width):
        mixed = (values ^ words[:, column]) * np.uint64(MULTIPLIER)
        mixed ^= mixed >> np.uint64(32)
        values = np.where(sizes > column * _WORD_BYTES, mixed, values)
    return values.astype(np.uint32)


def candidates(slots: Array, hashes: Array, wanted: Array) -> list[tuple[int, int]]:
    """(number of a wanted hash, entry) where an entry has it: the key is to be compared.

    ``hashes``: uint32, those of the entries; ``wanted``: uint32[n].
    """
    found: list[tuple[int, int]] = []
    last = len(slots) - 1
    places = wanted.astype(np.int64) & last
    numbers = np.arange(len(wanted))
    while len(numbers):
        entries = slots[places]
        there = entries > 0
        numbers, places, entries = numbers[there], places[there], entries[there] - 1
        same = hashes[entries] == wanted[numbers]
        found += zip(numbers[same].tolist(), entries[same].tolist(), strict=True)
        places = places + 1 & last
    return found


def place(slots: Array, first_entry: int, hashes: Array) -> None:
    """Put entries, from the first on, with these hashes, into slots that have room for them."""
    last = len(slots) - 1
    places = hashes.astype(np.int64) & last
    entries = np.arange(first_entry + 1, first_entry + 1 + len(hashes), dtype=np.int32)
    while len(entries):
        free = slots[places] == 0
        # Of several that want one place the last gets it, and the others go on.
        slots[places[free]] = entries[free]
        waiting = slots[places] != entries
        places, entries = places[waiting] + 1 & last, entries[waiting]
