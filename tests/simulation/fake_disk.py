"""A disk in memory that loses what was not made durable, for seeded crash tests.

It stands in for ``kissvdb.storage.disk.Disk``. What it may do, and nothing else:

- A write goes to a cache. When power is cut, every 512-byte sector that was written and not synced
  keeps its old or its new content, each for itself. A sector is never half written.
- The size of a file is as it was at its last sync, as it is in the cache, or between.
- Creations, removals and renames that no ``sync_dir`` followed happened or not, each for itself.
- What was synced stays.
- ``cut_power_after(n)`` cuts the power in the middle of things: after n more bytes written (a sync,
  a truncation and a change of the directory count as one byte).
- ``capacity_bytes`` makes writes beyond it fail with ENOSPC, after what fits.
- ``opens_left`` is how often a file, or the directory, can still be opened; then it is EMFILE.
- ``fail_next_sync`` makes the next sync fail with EIO; as on Linux, what it should have written
  stays in the cache, looks clean, and no later sync writes it.
"""

import errno
import os
import random

from kissvdb.storage.disk import Disk, DiskFile

SECTOR_BYTES = 512


class PowerCut(BaseException):
    """The machine is gone. Not an Exception: no code may go on after it."""


class _Inode:
    def __init__(self) -> None:
        self.cache = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()

    def put(self, data: bytes, at: int) -> None:
        end = at + len(data)
        if end > len(self.cache):
            self.cache.extend(bytes(end - len(self.cache)))
        self.cache[at:end] = data
        self.dirty.update(range(at // SECTOR_BYTES, -(-end // SECTOR_BYTES)))

    def truncate(self, length: int) -> None:
        if length < len(self.cache):
            del self.cache[length:]
        else:
            self.cache.extend(bytes(length - len(self.cache)))
        self.dirty.add(length // SECTOR_BYTES)

    def sync(self) -> None:
        self._write_back(sorted(self.dirty), len(self.cache))
        self.dirty.clear()

    def _write_back(self, sectors: list[int], size: int) -> None:
        durable = self.durable
        if len(durable) > size:
            del durable[size:]
        else:
            durable.extend(bytes(size - len(durable)))
        for sector in sectors:
            start = sector * SECTOR_BYTES
            piece = self.cache[start : start + SECTOR_BYTES][: max(0, size - start)]
            durable[start : start + len(piece)] = piece

    def lose(self, chance: random.Random) -> None:
        """What is left after the power was cut."""
        sizes = sorted((len(self.durable), len(self.cache)))
        size = chance.choice([*sizes, chance.randint(*sizes)])
        dirty = sorted(self.dirty)
        kept = {
            "none": [],
            "all": dirty,
            "prefix": dirty[: chance.randint(0, len(dirty))],
            "any": [sector for sector in dirty if chance.random() < 0.5],
        }[chance.choice(["none", "all", "prefix", "any"])]
        self._write_back(kept, size)
        self.cache = bytearray(self.durable)
        self.dirty.clear()


class FakeDisk(Disk):
    """One directory's files. ``crash`` is the loss of power; what follows is the next boot."""

    def __init__(self, chance: random.Random, capacity_bytes: int | None = None) -> None:
        super().__init__("/fake")
        self.capacity_bytes = capacity_bytes
        self.fail_next_sync = False
        self.opens_left: int | None = None
        self.bytes_read = 0
        self.bytes_written = 0
        self.syncs = 0
        self._chance = chance
        self._cached: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        # (name that appears, name that goes, inode), in order, since the last sync_dir.
        self._pending: list[tuple[str | None, str | None, _Inode]] = []
        self._budget: int | None = None
        self._is_held = False

    def cut_power_after(self, budget: int | None) -> None:
        """Raise PowerCut once that many more bytes were written; None: never."""
        self._budget = budget

    def crash(self) -> None:
        """Lose the power: every open file is dead, the cache is gone."""
        self._budget = None
        self.opens_left = None
        self._is_held = False
        self.fail_next_sync = False
        for appears, goes, inode in self._pending:
            if self._chance.random() < 0.5:
                self._link(self._durable, appears, goes, inode)
        self._pending.clear()
        for inode in {id(inode): inode for inode in self._durable.values()}.values():
            inode.lose(self._chance)
        self._cached = dict(self._durable)

    def content(self, name: str) -> bytes:
        """What a reader sees now."""
        return bytes(self._cached[name].cache)

    def put(self, name: str, content: bytes) -> None:
        """Make or replace a file behind everybody's back, durably."""
        inode = self._durable.get(name) or _Inode()
        inode.cache, inode.durable = bytearray(content), bytearray(content)
        self._cached[name] = self._durable[name] = inode

    def spend(self, wanted: int) -> int:
        """How many of ``wanted`` bytes happen before the power is cut."""
        if self._budget is None:
            return wanted
        granted = min(wanted, self._budget)
        self._budget -= granted
        return granted

    def act(self) -> None:
        """A step that happens whole, or not because the power is cut before it."""
        if self.spend(1) < 1:
            raise PowerCut

    def room_for(self, inode: _Inode, end: int) -> int:
        """The position up to which the inode may grow to reach ``end``."""
        if self.capacity_bytes is None or end <= len(inode.cache):
            return end
        used = sum(len(other.cache) for other in self._cached.values())
        return min(end, len(inode.cache) + max(0, self.capacity_bytes - used))

    def take_descriptor(self) -> None:
        """Open something."""
        if self.opens_left is not None:
            if not self.opens_left:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.opens_left -= 1

    def hold(self) -> None:
        if not self._is_held:
            self.take_descriptor()
            self._is_held = True

    def release(self) -> None:
        self._is_held = False

    def names(self) -> list[str]:
        self.take_descriptor()
        return sorted(self._cached)

    def open(self, name: str, *, create: bool = False, read_only: bool = False) -> DiskFile:
        self.take_descriptor()
        inode = self._cached.get(name)
        if create:
            if inode is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            self.act()
            inode = _Inode()
            self._change(name, None, inode)
        elif inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return FakeFile(self, inode)

    def remove(self, name: str) -> None:
        if name in self._cached:
            self.act()
            self._change(None, name, self._cached[name])

    def rename(self, old: str, new: str) -> None:
        self.act()
        self._change(new, old, self._cached[old])

    def sync_dir(self) -> None:
        if not self._is_held:
            self.take_descriptor()
        self.act()
        self.syncs += 1
        for appears, goes, inode in self._pending:
            self._link(self._durable, appears, goes, inode)
        self._pending.clear()

    def _change(self, appears: str | None, goes: str | None, inode: _Inode) -> None:
        self._link(self._cached, appears, goes, inode)
        self._pending.append((appears, goes, inode))

    @staticmethod
    def _link(
        directory: dict[str, _Inode], appears: str | None, goes: str | None, inode: _Inode
    ) -> None:
        if goes is not None and directory.get(goes) is inode:
            del directory[goes]
        if appears is not None:
            directory[appears] = inode


class FakeFile(DiskFile):
    """An open file of a FakeDisk; it works on after its name is gone."""

    def __init__(self, disk: FakeDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode

    def size(self) -> int:
        return len(self._inode.cache)

    def pread(self, length: int, at: int) -> bytes:
        data = bytes(self._inode.cache[at : at + length])
        self._disk.bytes_read += len(data)
        return data

    def write(self, data: bytes, at: int) -> None:
        end = self._disk.room_for(self._inode, at + len(data))
        fits = data[: max(0, end - at)]
        granted = self._disk.spend(len(fits))
        if granted:
            self._inode.put(fits[:granted], at)
            self._disk.bytes_written += granted
        if granted < len(fits):
            raise PowerCut
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_durable(self, data: bytes, at: int) -> None:
        self.write(data, at)
        self.sync()

    def sync(self) -> None:
        self._disk.act()
        self._disk.syncs += 1
        if self._disk.fail_next_sync:
            self._disk.fail_next_sync = False
            self._inode.dirty.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._inode.sync()

    def truncate(self, length: int) -> None:
        self._disk.act()
        self._inode.truncate(length)

    def close(self) -> None:
        pass
