"""Files of named arrays, written once and memory-mapped: the indexes of a collection.

magic 8, format u32, index length u32, index CRC-32 u32, data CRC-32 u32
index: JSON, name -> [dtype, shape, place in the file]
the arrays, little-endian, each on a multiple of 64 bytes
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.errors import OUT_OF_RESOURCES, Damaged
from kissvdb.storage.disk import DiskFile

Array = npt.NDArray[Any]

FORMAT = 1
ALIGNMENT_BYTES = 64

_MAGIC = b"KISSARRS"
_HEAD = struct.Struct("<8sIIII")


class IndexMapping(mmap.mmap):
    """The mapping of such a file, to be told from those of rows."""


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a new file and make it durable. Raises OSError."""
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    place = 0
    for name, array in contiguous.items():
        entries[name] = (array.dtype.str, array.shape, place)
        place += _aligned(array.nbytes)
    index = json.dumps(entries, separators=(",", ":")).encode()
    start = _aligned(_HEAD.size + len(index))
    crc = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    file = DiskFile(fd)
    try:
        for name, array in contiguous.items():
            data = memoryview(array.reshape(-1).view(np.uint8).data)
            padding = bytes(_aligned(len(data)) - len(data))
            crc = zlib.crc32(padding, zlib.crc32(data, crc))
            at = start + entries[name][2]
            _write(fd, data, at)
            _write(fd, memoryview(padding), at + len(data))
        head = _HEAD.pack(_MAGIC, FORMAT, len(index), zlib.crc32(index), crc)
        file.write(head + index, 0)
        file.truncate(start + place)
        file.sync()
    finally:
        file.close()


def read(path: Path) -> dict[str, Array]:
    """The arrays of a file, on a private mapping of it. Raises Damaged, and OSError when no more
    files can be opened now."""
    try:
        with path.open("rb") as file:
            mapping = IndexMapping(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
            # Nothing is known to be wrong with the file.
            raise
        raise Damaged(f"{path} cannot be read: {error}") from error
    if len(mapping) < _HEAD.size:
        raise Damaged(f"{path} is too short")
    magic, format_, index_bytes, index_crc, data_crc = _HEAD.unpack_from(mapping)
    if magic != _MAGIC or format_ != FORMAT:
        raise Damaged(f"{path} is not an array file of format {FORMAT}")
    index = mapping[_HEAD.size : _HEAD.size + index_bytes]
    start = _aligned(_HEAD.size + index_bytes)
    if zlib.crc32(index) != index_crc or zlib.crc32(memoryview(mapping)[start:]) != data_crc:
        raise Damaged(f"{path} does not match its checksum")
    arrays = {}
    for name, (dtype, shape, place) in json.loads(index).items():
        count = int(np.prod(shape, dtype=np.int64))
        array: Array = np.zeros(shape, dtype)
        if count:
            array = np.frombuffer(mapping, dtype, count, start + place).reshape(shape)
        arrays[name] = array
    return arrays


def _write(fd: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(fd, data, at)
        at += written
        data = data[written:]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
