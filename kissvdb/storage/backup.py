"""Backups: a data directory's files at one offset, as a tar stream, and back again.

A backup is a data directory without a lock: the tables, each at its own applied offset, and the
log up to one offset L at or after all of them. Opening it replays the tables to L, so it is
consistent at L by construction. ``backup.json`` names L.
"""

import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from kissvdb.errors import Damaged, Refused
from kissvdb.storage.data_dir import BACKUP_NAME, DataDir, backup_offset

_BLOCK_BYTES = 256 * 1024


@attrs.frozen
class Entry:
    """One file of a backup: its first ``size`` bytes belong to it. Holds ``source`` open."""

    name: str
    size: int
    source: BinaryIO

    @classmethod
    def of_bytes(cls, name: str, content: bytes) -> "Entry":
        return cls(name, len(content), io.BytesIO(content))


def description(offset: int, database_id: str, created_at_ms: int) -> Entry:
    """The ``backup.json`` of a backup."""
    content = {"offset": offset, "database_id": database_id, "created_at_ms": created_at_ms}
    return Entry.of_bytes(BACKUP_NAME, json.dumps(content, indent=1).encode())


def tar_blocks(entries: Sequence[Entry], mtime: int) -> Generator[bytes, None, None]:
    """The entries as an uncompressed POSIX tar, in bounded blocks, none empty.

    Whoever opened the entries closes them: a generator that was never begun could not.
    """
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        info.size, info.mtime, info.mode = entry.size, mtime, 0o600
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = entry.size
        while left:
            block = entry.source.read(min(left, _BLOCK_BYTES))
            if not block:
                raise Damaged(f"{entry.name} became shorter while it was backed up")
            left -= len(block)
            yield block
        padding = -entry.size % tarfile.BLOCKSIZE
        if padding:
            yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)


def unpack(stream: BinaryIO, directory: Path) -> int:
    """Unpack a backup's tar into a new directory; returns its offset.

    Refuses a directory that is not empty, and a stream that ended early.
    """
    _want_empty(directory)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Refused(f"the backup is no tar, or broke off ({error}): take it again") from error
    return offset_of(directory)


def offset_of(backup: Path) -> int:
    """The offset a backup is consistent at. Refuses what is no complete backup."""
    if not backup.exists():
        raise Refused(f"there is no {backup}: name a backup's directory, or its tar")
    try:
        offset = backup_offset(backup)
    except (OSError, Damaged) as error:
        raise Refused(f"{backup} is not a complete kissvdb backup ({error})") from error
    if offset is None:
        raise Refused(f"{backup} is not a complete kissvdb backup: it has no {BACKUP_NAME}")
    return offset


def restore(backup: Path, data_dir: Path) -> int:
    """Make ``data_dir`` (new or empty) from a backup, a directory or the tar of it that
    ``GET /v1/backup`` answers; returns the offset it is at.

    It begins a new epoch: what was written after the backup is no more, and the offsets of that,
    which clients may remember, are not given away again. The backup stays as it is. Everything is
    copied before the directory gets its place, so a restore that fails leaves nothing behind that
    looks like a database.
    """
    packed = backup.is_file()
    offset = 0 if packed else offset_of(backup)
    _want_empty(data_dir)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = data_dir.with_name(data_dir.name + ".restoring")
    if partial.exists():
        shutil.rmtree(partial)
    if packed:
        with backup.open("rb") as stream:
            offset = unpack(stream, partial)
    else:
        shutil.copytree(backup, partial)
    DataDir.open(partial).close()
    if data_dir.exists():
        data_dir.rmdir()
    partial.rename(data_dir)
    return offset


def _want_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Refused(f"{directory} is not empty: name a new directory, or move it away first")
