"""The files of API keys in a data directory.

::

    keys.bin    "KKEY" | version u32 | BLAKE2b-128 of the rest | see `engine.keys.key_store`
    keys.salt   32 random bytes that hashes of secrets are keyed with; written once

Both are for the server's own user only. A backup holds both: without the salt no key works.
"""

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from kissvdb.errors import Damaged, NewerFormat
from kissvdb.storage.data_dir import sync_directory

KEYS_NAME = "keys.bin"
SALT_NAME = "keys.salt"
VERSION = 1

_MAGIC = b"KKEY"
_CHECKSUM_BYTES = 16
_HEAD_BYTES = len(_MAGIC) + 4 + _CHECKSUM_BYTES


def packed(content: bytes) -> bytes:
    """A keys.bin with this content."""
    checksum = blake2b(content, digest_size=_CHECKSUM_BYTES).digest()
    return _MAGIC + VERSION.to_bytes(4, "little") + checksum + content


def read(directory: Path) -> bytes | None:
    """The content of keys.bin; None when there is none. Raises Damaged, also for a later
    version."""
    file = directory / KEYS_NAME
    try:
        found = file.read_bytes()
    except FileNotFoundError:
        return None
    version = int.from_bytes(found[len(_MAGIC) : len(_MAGIC) + 4], "little")
    content = found[_HEAD_BYTES:]
    if found[: len(_MAGIC)] == _MAGIC and version > VERSION:
        raise NewerFormat(f"{file} has version {version}, this kissvdb reads {VERSION}")
    if found != packed(content):
        raise Damaged(
            f"{file} is damaged: restore it from a backup; or move it away, and keys that the log "
            "no longer tells of are gone"
        )
    return content


def write(directory: Path, content: bytes) -> None:
    """Replace keys.bin, durably; a crash leaves the old one or the new one."""
    _replace(directory, KEYS_NAME, packed(content))


def read_salt(directory: Path, size: int) -> bytes | None:
    """The salt; None when there is none. Raises Damaged for one of another size."""
    file = directory / SALT_NAME
    try:
        salt = file.read_bytes()
    except FileNotFoundError:
        return None
    if len(salt) != size:
        raise Damaged(
            f"{file} has {len(salt)} bytes, not {size}: restore it from a backup; or move it away "
            "and rotate all API keys"
        )
    return salt


def write_salt(directory: Path, salt: bytes) -> None:
    """Keep the salt, durably."""
    _replace(directory, SALT_NAME, salt)


def problems(directory: Path) -> Iterator[str]:
    """What is wrong with the files, for a check."""
    try:
        there = read(directory) is not None
    except Damaged as damage:
        yield damage.message
        return
    if there and not (directory / SALT_NAME).exists():
        yield f"{directory / SALT_NAME} is missing: no API key works; restore it, or rotate them"


def _replace(directory: Path, name: str, content: bytes) -> None:
    temporary = directory / f"{name}.tmp"
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(fd, "wb", closefd=False) as out:
            out.write(content)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, directory / name)
    sync_directory(directory)
