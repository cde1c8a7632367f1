"""String ids of rows, both ways, in a few arrays that can lie in a file.

Ids in row order are one blob and its offsets. Id to row is a hash table of rows whose candidates
are compared with the blob, so answers are exact. It is split into SHARDS small tables by the
hash's top bits, so that growth is many short pauses instead of a long one.

The hash is salted BLAKE2b: who does not know the salt cannot make ids that collide.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, Final

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.store import hash_slots
from kissvdb.core.store.hash_slots import ROWS_MAX, SLOTS_MIN, UNDONE, HashSlots
from kissvdb.errors import Damaged

SALT_BYTES = 16
SHARDS = 64

_FORMAT: Final = 1
_SHARD_SHIFT: Final = 32 - 6
_MANY: Final = 16


class _Header(msgspec.Struct, array_like=True, frozen=True):
    format: int
    salt: bytes
    live: int
    slots: list[int]
    used: list[int]


@attrs.frozen(eq=False)
class Hashed:
    """Ids in UTF-8, and their tags, uint32 [n], by one salt."""

    keys: Sequence[bytes]
    tags: npt.NDArray[np.uint32]
    salt: bytes


class IdMap:
    """Each live id's newest row, and every row's id. One writer.

    ``get``, ``id_at`` and ``ids_at`` may be called from any thread.
    """

    def __init__(self, salt: bytes) -> None:
        """``salt``: SALT_BYTES of randomness; stored with the arrays."""
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        self._salt = salt
        self._live = 0
        self._shards = [HashSlots() for _ in range(SHARDS)]
        # The rows that were opened, perhaps memory-mapped, then those added since.
        self._base_rows = 0
        self._base_offsets = memoryview(array("Q", [0]))
        self._base_blob = memoryview(b"")
        self._offsets = array("Q", [0])
        self._blob = bytearray()

    def __len__(self) -> int:
        """How many ids are live."""
        return self._live

    @property
    def row_count(self) -> int:
        """How many rows were ever put, live or not."""
        return self._base_rows + len(self._offsets) - 1

    def get(self, id_: str) -> int | None:
        """The row of an id; None if it is not live."""
        key = _encoded(id_)
        tag = self._tag(key)
        return self._shards[tag >> _SHARD_SHIFT].find(tag, self._has_key(key))

    def put(self, id_: str, row: int) -> int | None:
        """Append a row under an id; answers the row the id had before, if it was live.

        Rows come in order, from 0. ValueError for another row, or for one over ROWS_MAX.
        """
        if row != self.row_count or row > ROWS_MAX:
            raise ValueError(f"row {row} does not follow {self.row_count} rows")
        key = _encoded(id_)
        tag = self._tag(key)
        # Before the slot that leads to it, for readers in other threads.
        self._blob += key
        self._offsets.append(len(self._blob))
        before = self._shards[tag >> _SHARD_SHIFT].put(tag, row, self._has_key(key))
        self._live += before is None
        return before

    def hashed(self, ids: Sequence[str]) -> Hashed:
        """Ids to look for, and to put then."""
        keys = list(map(_encoded, ids))
        return Hashed(keys, self._tags(keys), self._salt)

    def rows_of(self, hashed: Hashed) -> list[int]:
        """The row of each id; -1 if it is not live."""
        assert hashed.salt == self._salt, "they are of another map"
        shards = self._shards
        tables = [shard.slots for shard in shards]
        rows = [-1] * len(hashed.keys)
        for place, tag in enumerate(hashed.tags.tolist()):
            slots = tables[tag >> _SHARD_SHIFT]
            if slots[tag & len(slots) - 1]:
                has_key = self._has_key(hashed.keys[place])
                row = shards[tag >> _SHARD_SHIFT].find(tag, has_key)
                if row is not None:
                    rows[place] = row
        return rows

    def put_all(self, ids: Sequence[str], first_row: int) -> list[int | None]:
        """`put` of ids one after the other, for a third of the time."""
        if len(ids) < _MANY:
            if first_row != self.row_count:
                raise ValueError(f"row {first_row} does not follow {self.row_count} rows")
            return [self.put(id_, row) for row, id_ in enumerate(ids, first_row)]
        return self.put_hashed(self.hashed(ids), first_row)

    def put_hashed(self, hashed: Hashed, first_row: int) -> list[int | None]:
        """`put_all` of ids that are hashed already."""
        keys, tags = hashed.keys, hashed.tags
        if first_row != self.row_count or first_row + len(keys) - 1 > ROWS_MAX:
            raise ValueError(f"row {first_row} does not follow {self.row_count} rows")
        assert hashed.salt == self._salt, "they are of another map"
        start = len(self._blob)
        # Before the slots that lead to them, for readers in other threads.
        self._blob += b"".join(keys)
        self._offsets.extend(islice(accumulate(map(len, keys), initial=start), 1, None))
        shards = self._shards
        counts = np.bincount(tags >> np.uint32(_SHARD_SHIFT), minlength=SHARDS).tolist()
        for shard, count in zip(shards, counts, strict=True):
            shard.make_room(count)
        before: list[int | None] = [None] * len(keys)
        key_at = self._key_at
        for place, (tag, key) in enumerate(zip(tags.tolist(), keys, strict=True)):
            shard = shards[tag >> _SHARD_SHIFT]
            replaced = shard.put_quickly(tag, first_row + place, key, key_at)
            if replaced >= 0:
                before[place] = replaced
            elif replaced == UNDONE:
                before[place] = shard.put(tag, first_row + place, self._has_key(key))
        self._live += before.count(None)
        return before

    def delete(self, id_: str) -> int | None:
        """Forget an id; answers its row, which keeps its ``id_at``; None if it is not live."""
        key = _encoded(id_)
        tag = self._tag(key)
        row = self._shards[tag >> _SHARD_SHIFT].delete(tag, self._has_key(key))
        self._live -= row is not None
        return row

    def id_at(self, row: int) -> str:
        """The id a row was put under."""
        return str(self._key_at(row), "utf-8", "surrogatepass")

    def ids_at(self, rows: Iterable[int]) -> list[str]:
        """The ids of rows, in their order."""
        return [self.id_at(row) for row in rows]

    def remap(self, keep_rows: npt.NDArray[np.integer[Any]]) -> "IdMap":
        """A new map of the rows ``keep_rows`` (ascending) only, renumbered from 0: a vacuum."""
        keep = np.asarray(keep_rows, np.int64)
        renumbered = np.full(self.row_count, -1, np.int64)
        renumbered[keep] = np.arange(len(keep))
        keys = [bytes(self._key_at(row)) for row in keep.tolist()]
        offsets = np.zeros(len(keys) + 1, np.uint64)
        np.cumsum(np.fromiter(map(len, keys), np.uint64, len(keys)), out=offsets[1:])
        shards = []
        for shard in self._shards:
            entries = shard.entries()
            rows = renumbered[hash_slots.rows_of(entries)]
            kept = hash_slots.with_rows(entries[rows >= 0], rows[rows >= 0])
            shards.append(HashSlots(hash_slots.placed(kept), len(kept)))
        blob = np.frombuffer(b"".join(keys), np.uint8)
        return self._opened(self._salt, sum(shard.used for shard in shards), shards, offsets, blob)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The map as named arrays to store: ``slots`` and ``offsets`` uint64, ``blob`` and
        ``header`` uint8. They are copies."""
        header = _Header(
            _FORMAT,
            self._salt,
            self._live,
            [len(shard.table) for shard in self._shards],
            [shard.used for shard in self._shards],
        )
        ends = np.array(self._offsets[1:], np.uint64) + np.uint64(len(self._base_blob))
        added = np.frombuffer(bytes(self._blob), np.uint8)
        return {
            "header": np.frombuffer(msgspec.msgpack.encode(header), np.uint8),
            "slots": np.concatenate([shard.table for shard in self._shards]),
            "offsets": np.concatenate([np.asarray(self._base_offsets), ends]),
            "blob": np.concatenate([np.asarray(self._base_blob, np.uint8), added]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "IdMap":
        """The map of ``to_arrays``, on the same memory, which may be memory-mapped: nothing is
        built again or read through. Raises Damaged if the arrays do not fit together."""
        try:
            header = msgspec.msgpack.decode(arrays["header"].tobytes(), type=_Header)
            slots, offsets, blob = (arrays[name] for name in ("slots", "offsets", "blob"))
        except (KeyError, msgspec.DecodeError) as error:
            raise Damaged(f"id map: {error}") from error
        if header.format != _FORMAT or len(header.salt) != SALT_BYTES:
            raise Damaged("id map: unknown format")
        if slots.dtype != np.uint64 or offsets.dtype != np.uint64 or blob.dtype != np.uint8:
            raise Damaged("id map: an array of a wrong type")
        if sum(header.slots) != len(slots) or not SHARDS == len(header.slots) == len(header.used):
            raise Damaged("id map: the slots are not those of the header")
        if any(count < SLOTS_MIN or count & (count - 1) for count in header.slots):
            raise Damaged("id map: a table of a wrong size")
        # Probing for an id that is not there ends at an empty slot.
        if any(used >= count for used, count in zip(header.used, header.slots, strict=True)):
            raise Damaged("id map: a table without an empty slot")
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(blob):
            raise Damaged("id map: the offsets do not end where the ids do")
        tables = np.split(slots, np.cumsum(header.slots)[:-1])
        shards = list(map(HashSlots, tables, header.used))
        return cls._opened(header.salt, header.live, shards, offsets, blob)

    @classmethod
    def _opened(
        cls,
        salt: bytes,
        live: int,
        shards: list[HashSlots],
        offsets: npt.NDArray[np.uint64],
        blob: npt.NDArray[np.uint8],
    ) -> "IdMap":
        opened = cls(salt)
        opened._live, opened._shards = live, shards
        opened._base_rows = len(offsets) - 1
        opened._base_offsets, opened._base_blob = offsets.data, blob.data
        return opened

    def _tag(self, key: bytes) -> int:
        digest = hashlib.blake2b(key, digest_size=4, salt=self._salt).digest()
        return int.from_bytes(digest, "little")

    def _tags(self, keys: Sequence[bytes]) -> npt.NDArray[np.uint32]:
        blake2b, salt = hashlib.blake2b, self._salt
        digests = [blake2b(key, digest_size=4, salt=salt).digest() for key in keys]
        return np.frombuffer(b"".join(digests), "<u4")

    def _has_key(self, key: bytes) -> Callable[[int], bool]:
        return lambda row: self._key_at(row) == key

    def _key_at(self, row: int) -> bytes | bytearray | memoryview:
        if row < self._base_rows:
            return self._base_blob[self._base_offsets[row] : self._base_offsets[row + 1]]
        row -= self._base_rows
        return self._blob[self._offsets[row] : self._offsets[row + 1]]


def _encoded(id_: str) -> bytes:
    return id_.encode("utf-8", "surrogatepass")
