"""Vectors as a numpy array in a file (.npy), their ids in another one, one a line."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from kissvdb.commands.files.formats import STDIO
from kissvdb.commands.files.reading import Row, Rows
from kissvdb.errors import Refused

Array = np.ndarray[Any, Any]


def read(name: str, ids_name: str | None) -> Rows:
    """``{"id", "vector"}`` of a float array [n, dim], read as it is needed. Without a file of ids
    the number of the row is one, from 0 on."""
    if name == STDIO:
        raise Refused("an array is read from a file, not from standard input")
    try:
        array = np.load(name, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Refused(f"{name}: not an array in .npy: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        raise Refused(f"{name}: one array of numbers [rows, dim] is wanted")
    ids = None if ids_name is None else _ids(Path(ids_name))
    if ids is not None and len(ids) != len(array):
        raise Refused(f"{ids_name} has {len(ids)} ids and {name} {len(array)} rows")
    done = [0]
    total = len(array)
    return Rows(_rows(array, ids, done), "row", lambda: done[0] / total if total else None)


def _rows(array: Array, ids: list[str] | None, done: list[int]) -> Iterator[tuple[int, Row]]:
    for number in range(len(array)):
        with np.errstate(over="ignore"):
            vector = np.asarray(array[number], dtype=np.float32)
        if not np.isfinite(vector).all():
            raise Refused(f"row {number + 1}: has a number that is none or none of float32")
        done[0] = number + 1
        yield number + 1, {"id": str(number) if ids is None else ids[number], "vector": vector}


def _ids(path: Path) -> list[str]:
    if path.suffix == ".npy":
        try:
            return [str(each) for each in np.load(path, allow_pickle=False).tolist()]
        except ValueError as error:
            raise Refused(f"{path}: not an array of ids: {error}") from None
    try:
        lines = path.read_bytes().decode().split("\n")
        if lines and not lines[-1]:
            lines.pop()
        return [msgspec.json.decode(each, type=str) if each[:1] == '"' else each for each in lines]
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise Refused(f"{path}: not ids in UTF-8, one a line: {error}") from None


def write(rows: Iterable[Row], file: BinaryIO, ids: BinaryIO | None) -> int:
    """The vectors of ``{"id", "vector"}`` as one float32 array; how many. What else a row has is
    not in it."""
    count = dim = 0
    with tempfile.TemporaryFile() as spool:
        for row in rows:
            vector = np.asarray(row["vector"], dtype="<f4")
            assert not count or len(vector) == dim, "all of a collection have the same dim"
            count, dim = count + 1, len(vector)
            spool.write(vector.tobytes())
            if ids is not None:
                ids.write(_id_line(str(row["id"])))
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        spool.seek(0)
        shutil.copyfileobj(spool, file, 1024 * 1024)
    return count


def _id_line(id_: str) -> bytes:
    plain = id_.isprintable() and not id_.startswith('"')
    return (id_.encode() if plain else msgspec.json.encode(id_)) + b"\n"
