"""The words of an index: which term each surface word of each field is, and the terms' names.

Append-only and shared by the writer and all views, which hold it with a number of entries: a view
that is stored has all terms it uses. The key of an entry is a byte that says field and kind, and
then the word in UTF-8; its value is the term. A word as it is written (a surface) and a term have
keys of their own, and "run", a surface, may be the term of "running".

The entries are found by a hash table of linear probing in arrays, which kernels read too.
"""

import operator
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings import hashing
from kissvdb.core.postings.hashing import hash_of
from kissvdb.errors import Damaged

FIELDS_MAX: Final = 128
"""Declared ones and others; the key's first byte is the field and the kind."""
SURFACE_BYTES_MAX: Final = 64
"""Longer words are known by their terms only: there are few, and each is looked up in Python."""
SURFACE: Final = 0
TERM: Final = 1

_HASH_MASK: Final = 2**32 - 1
_SLOTS_MIN: Final = 1024
_CACHED_MAX: Final = 100_000

Array = npt.NDArray[Any]


def prefix_of(field: int, kind: int) -> bytes:
    """The first byte of the keys of one field and kind."""
    return bytes((field << 1 | kind,))


Stems = Callable[[Sequence[bytes], Sequence[int]], Sequence[bytes]]
"""The names of the terms of words, in fields of these numbers."""


class Learnt(NamedTuple):
    """The terms of rows.

    ``stream``: int32, the terms of all texts and GAP; ``ptr``: int64[rows + 1], where each row
    begins in it, and the last ends. ``totals``: int64[2, FIELDS_MAX], how many rows have a term in
    each field, and how many terms.
    """

    stream: Array
    ptr: Array
    totals: Array


@attrs.define(eq=False)
class _Column:
    """An array that grows. Readers keep the array they have: what is in it does not change."""

    array: Array
    count: int

    def room(self, more: int) -> Array:
        """The array, with room for so many more."""
        need = self.count + more
        if need > len(self.array) or not self.array.flags.writeable:
            grown = np.zeros(max(need + need // 2, 1024), self.array.dtype)
            grown[: self.count] = self.array[: self.count]
            self.array = grown
        return self.array

    def extend(self, items: Array) -> None:
        array, first = self.room(len(items)), self.count
        array[first : first + len(items)] = items
        self.count += len(items)


class Vocabulary:
    """One thread adds; any thread looks up."""

    def __init__(self, salt: int | None = None) -> None:
        self.salt = secrets.randbits(63) if salt is None else salt
        self.paths: list[str] = []
        """The path of each field number."""
        self._numbers: dict[str, int] = {}
        self._blob = _Column(np.zeros(0, np.uint8), 0)
        self._ends = _Column(np.zeros(0, np.int64), 0)
        self._values = _Column(np.zeros(0, np.int32), 0)
        self._hashes = _Column(np.zeros(0, np.uint32), 0)
        self._fields = _Column(np.zeros(0, np.uint8), 0)
        self.slots: npt.NDArray[np.int32] = np.zeros(_SLOTS_MIN, np.int32)
        self._cache: dict[bytes, int] = {}
        self._places: tuple[tuple[Array, ...], Array] = ((), np.zeros(0, np.int64))

    @property
    def entries(self) -> int:
        return self._values.count

    @property
    def terms(self) -> int:
        """How many terms there are: 0 to terms - 1."""
        return self._fields.count

    @property
    def blob(self) -> npt.NDArray[np.uint8]:
        """The keys, one after the other, and room behind them."""
        return self._blob.array

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """Where each key ends in ``blob``."""
        return self._ends.array

    @property
    def values(self) -> npt.NDArray[np.int32]:
        """The term of each key."""
        return self._values.array

    @property
    def fields(self) -> npt.NDArray[np.uint8]:
        """The field of each term."""
        return self._fields.array

    def addresses(self) -> Array:
        """Where the arrays are, as ``placed`` says; good until something is added."""
        return self.placed()[0]

    def placed(self) -> tuple[Array, tuple[Array, ...]]:
        """int64[9]: where slots, hashes, ends, blob and values are, the slots less 1, how many
        entries there are, the salt, and where the field of each term is; and those arrays, to be
        kept: what is added later may go to others."""
        # First: what other threads add meanwhile is in arrays that are taken later.
        entries = self._values.count
        arrays = (
            self.slots,
            self._hashes.array,
            self._ends.array,
            self._blob.array,
            self._values.array,
            self._fields.array,
        )
        known, made = self._places
        # Not compared by ==: these are arrays.
        if len(known) != len(arrays) or any(map(operator.is_not, known, arrays)):
            places = [each.ctypes.data for each in arrays]
            numbers = (*places[:5], len(arrays[0]) - 1, 0, self.salt, places[5])
            made = np.array(numbers, np.int64)
            self._places = arrays, made
        made = made.copy()
        made[6] = entries
        return made, arrays

    def field_number(self, path: str) -> int | None:
        return self._numbers.get(path)

    def add_field(self, path: str) -> int | None:
        """The number of a field that may be new; None if there are FIELDS_MAX others."""
        number = self._numbers.get(path)
        if number is None and len(self.paths) < FIELDS_MAX:
            number = self._numbers[path] = len(self.paths)
            self.paths.append(path)
        return number

    def term_of(self, key: bytes) -> int | None:
        """The term of a surface or a term; None if there is none."""
        term = self._cache.get(key)
        if term is None:
            entry = self._find(key)
            if entry < 0:
                return None
            term = int(self._values.array[entry])
            if len(self._cache) >= _CACHED_MAX:
                self._cache.clear()
            self._cache[key] = term
        return term

    def learn(self, words: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """The terms of words, which are new where there are none: (surface key, term key) each.

        No surface comes twice, and none is known yet; those beyond SURFACE_BYTES_MAX never are.
        """
        names = list(dict.fromkeys(name for _, name in words))
        hashes = hashing.hashes_of(names, self.salt)
        terms: dict[bytes, int] = {}
        for number, entry in hashing.candidates(self.slots, self._hashes.array, hashes):
            if self.key(entry) == names[number]:
                terms[names[number]] = int(self._values.array[entry])
        fresh = [name for name in names if name not in terms]
        terms.update(zip(fresh, range(self.terms, self.terms + len(fresh)), strict=True))
        self._fields.extend(np.fromiter((name[0] >> 1 for name in fresh), np.uint8, len(fresh)))
        entries: list[tuple[bytes, int]] = []
        missing = set(fresh)
        for key, name in words:
            if name in missing:
                missing.remove(name)
                entries.append((name, terms[name]))
            if len(key) <= SURFACE_BYTES_MAX:
                entries.append((key, terms[name]))
        self._add(entries)
        return [terms[name] for _, name in words]

    def room(
        self, entries: int, octets: int, terms: int
    ) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Slots, hashes, ends, blob, values and fields, with room for so many more entries, bytes
        of keys and terms: whoever writes them says so by ``grown``."""
        columns = (
            self._hashes.room(entries),
            self._ends.room(entries),
            self._blob.room(octets),
            self._values.room(entries),
            self._fields.room(terms),
        )
        if 2 * (self.entries + entries) > len(self.slots):
            self.slots = _placed(self._hashes.array[: self.entries], entries)
        elif not self.slots.flags.writeable:
            self.slots = self.slots.copy()
        return self.slots, *columns

    def grown(self, entries: int, terms: int) -> None:
        """There are so many now."""
        self._blob.count = int(self.ends[entries - 1]) if entries else 0
        self._hashes.count = self._ends.count = self._values.count = entries
        self._fields.count = terms

    def key(self, entry: int) -> bytes:
        ends = self._ends.array
        start = int(ends[entry - 1]) if entry else 0
        return self._blob.array[start : ends[entry]].tobytes()

    def _find(self, key: bytes) -> int:
        slots, hash_ = self.slots, hash_of(key, self.salt) & _HASH_MASK
        last = len(slots) - 1
        place = hash_ & last
        while entry := int(slots[place]):
            if self._hashes.array[entry - 1] == hash_ and self.key(entry - 1) == key:
                return entry - 1
            place = place + 1 & last
        return -1

    def _add(self, entries: Sequence[tuple[bytes, int]]) -> None:
        """Append entries: keys, which are not there, and their values."""
        keys = [key for key, _ in entries]
        hashes = hashing.hashes_of(keys, self.salt)
        first = self.entries
        sizes = np.fromiter(map(len, keys), np.int64, len(keys))
        ends = self._blob.count + np.cumsum(sizes)
        self._hashes.extend(hashes)
        self._blob.extend(np.frombuffer(b"".join(keys), np.uint8))
        self._ends.extend(ends)
        self._values.extend(np.fromiter((value for _, value in entries), np.int32, len(entries)))
        if len(self._cache) + len(entries) > _CACHED_MAX:
            self._cache.clear()
        self._cache.update(entries)
        # Last, for readers in other threads: what a slot leads to is there.
        if 2 * self.entries > len(self.slots):
            self.slots = _placed(self._hashes.array[: self.entries])
            return
        if not self.slots.flags.writeable:
            self.slots = self.slots.copy()
        hashing.place(self.slots, first, hashes)

    def with_terms(self, used: Array, entries: int) -> tuple["Vocabulary", Array]:
        """A vocabulary of the terms that are ``used`` (bool[terms]) only, of the first entries;
        and int32[terms], the new term of each, -1 of the others."""
        terms = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
        values = self._values.array[:entries]
        kept = np.flatnonzero(used[values])
        ends = self._ends.array[:entries]
        starts = np.concatenate([[0], ends[:-1]]) if entries else ends
        sizes = (ends - starts)[kept]
        new_ends = np.cumsum(sizes)
        places = np.repeat(starts[kept] - (new_ends - sizes), sizes) + np.arange(sizes.sum())
        hashes = self._hashes.array[:entries][kept]
        arrays = {
            "words": self._blob.array[places],
            "word_ends": new_ends,
            "word_terms": terms[values[kept]],
            "word_hashes": hashes,
            "word_slots": _placed(hashes),
            "term_fields": self._fields.array[: len(used)][used],
        }
        return Vocabulary.from_arrays(arrays, self.salt, self.paths), terms

    def to_arrays(self, entries: int, terms: int) -> dict[str, Array]:
        """The first entries, as they were when there were so many; also while others are added."""
        ends = self._ends.array[:entries]
        hashes = self._hashes.array[:entries]
        return {
            "words": self._blob.array[: int(ends[-1]) if entries else 0],
            "word_ends": ends,
            "word_terms": self._values.array[:entries],
            "word_hashes": hashes,
            "word_slots": _placed(hashes),
            "term_fields": self._fields.array[:terms],
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], salt: int, paths: Iterable[str]
    ) -> "Vocabulary":
        """The vocabulary of ``to_arrays``, on the same memory. Raises Damaged."""
        made = cls(salt)
        blob, ends, values = arrays["words"], arrays["word_ends"], arrays["word_terms"]
        hashes, slots, fields = arrays["word_hashes"], arrays["word_slots"], arrays["term_fields"]
        entries = len(values)
        fits = all(part.flags.c_contiguous for part in (blob, ends, values, hashes, slots))
        fits = (
            fits and len(ends) == entries == len(hashes) and (not entries or ends[-1] == len(blob))
        )
        fits = fits and len(slots) == _slot_count(entries)
        if not (fits and (not entries or values.max() < len(fields))):
            raise Damaged("text index: the vocabulary's arrays do not fit together")
        made._blob, made._ends = _Column(blob, len(blob)), _Column(ends, entries)
        made._values, made._fields = _Column(values, entries), _Column(fields, len(fields))
        made._hashes = _Column(hashes, entries)
        made.slots = slots
        for path in paths:
            made.add_field(path)
        return made


def _slot_count(entries: int) -> int:
    count = _SLOTS_MIN
    while count < 4 * entries:
        count *= 2
    return count


def _placed(hashes: Array, more: int = 0) -> npt.NDArray[np.int32]:
    """The slots of entries with these hashes, as probing leaves them if they come in the order of
    their homes; a quarter of them used when so many ``more`` have come."""
    count = _slot_count(len(hashes) + more)
    homes = (hashes & np.uint32(count - 1)).astype(np.int64)
    order = np.argsort(homes, kind="stable")
    number = np.arange(len(hashes))
    places = np.maximum.accumulate(homes[order] - number) + number
    inside = places < count
    slots = np.zeros(count, np.int32)
    slots[places[inside]] = order[inside] + 1
    # What runs off the end goes on at the start, into the first free slots.
    over = order[~inside] + 1
    slots[np.flatnonzero(slots == 0)[: len(over)]] = over
    return slots
