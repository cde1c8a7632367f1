"""The directory of one collection: its row arrays, its index files, and the manifest.

    manifest.json                what belongs together, at which offset of the log; replaced whole
    <array>.<generation>.rows    rows and codes, appended in place, and the pages of a graph
                                 (``row_arrays``)
    <index>.<number>.arrays      written anew at each checkpoint (``array_file``)

A checkpoint makes the rows durable, then writes new index files, then renames the manifest over
the old one. Whatever a crash leaves, the manifest names a whole and matching set; what it does
not name is removed at the next checkpoint.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy.typing as npt

from kissvdb.errors import OUT_OF_RESOURCES, Damaged, NewerFormat
from kissvdb.storage.disk import Disk, refusal_of
from kissvdb.storage.rows import array_file
from kissvdb.storage.rows.arrays import SUFFIX, RowArrays

Array = npt.NDArray[Any]
Index = dict[str, Array]

MANIFEST = "manifest.json"
FORMAT = 1
_INDEX_SUFFIX = ".arrays"
_DERIVED = ("codes", "pages", "lists", "signs")
"""What the names of arrays begin with that an index can make again from the rows."""


@attrs.frozen(eq=False)
class Opened:
    """What a directory holds. An index that is damaged is left out, and said why in ``damaged``.

    ``row_files`` and ``index_files``: the files of arrays and indexes, by their names.
    """

    manifest: dict[str, Any]
    arrays: RowArrays
    indexes: dict[str, Index]
    damaged: dict[str, str]
    row_files: dict[str, str]
    index_files: dict[str, str]


def exists(directory: Path) -> bool:
    """Whether a checkpoint was ever finished here."""
    return (directory / MANIFEST).exists()


def save(
    directory: Path,
    arrays: RowArrays,
    manifest: Mapping[str, Any],
    indexes: Mapping[str, Mapping[str, Array]],
    *,
    keep_later: bool = True,
) -> None:
    """Finish a checkpoint: on return it survives a loss of power. For a thread.

    ``manifest`` is any JSON object. ``keep_later``: whether a vacuum may be writing a later
    generation; what one left that was given up goes otherwise, first of all, since it may be what
    fills the disk. Raises PersistenceFailed; then the one before still holds.
    """
    disk = Disk(directory)
    try:
        if not keep_later:
            _remove_later(disk, arrays.generation)
        arrays.sync()
        number = 1 + max(map(_number, disk.names()), default=0)
        files = {name: f"{name}.{number}{_INDEX_SUFFIX}" for name in indexes}
        for name, index in indexes.items():
            array_file.write(directory / files[name], index)
        rows = {name: arrays.file_name(name) for name in arrays.names()}
        body = {
            "format": FORMAT,
            "generation": arrays.generation,
            "rows": rows,
            "indexes": files,
            "content": dict(manifest),
        }
        # The names must be durable before the manifest that counts on them.
        disk.sync_dir()
        _replace_manifest(disk, body)
        named = {MANIFEST, *files.values(), *rows.values()}
        _remove_others(disk, named, arrays.generation)
    except OSError as error:
        raise refusal_of(error, f"{directory} could not be written") from error


def open_directory(directory: Path) -> Opened:
    """What the last checkpoint left. Raises Damaged when the manifest or a row file is wrong, and
    OSError when no more files can be opened now."""
    body = _read_manifest(directory / MANIFEST)
    derived = {name for name in body["rows"] if name.startswith(_DERIVED)}
    arrays = RowArrays(directory, body["generation"], written=body["rows"])
    for name in set(body["rows"]) - derived:
        path = directory / body["rows"][name]
        if not path.exists():
            raise Damaged(f"{path} is missing: restore a backup")
    indexes, damaged = {}, {}
    for name, file in body["indexes"].items():
        try:
            indexes[name] = array_file.read(directory / file)
        except Damaged as error:
            damaged[name] = error.message
    return Opened(body["content"], arrays, indexes, damaged, body["rows"], body["indexes"])


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        envelope = json.loads(path.read_bytes())
        body: dict[str, Any] = envelope["manifest"]
        if zlib.crc32(_compact(body)) != envelope["crc32"]:
            raise Damaged(f"{path} does not match its checksum: restore a backup")
        if body["format"] != FORMAT:
            raise NewerFormat(f"{path} is of format {body['format']}, this program reads {FORMAT}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
            raise
        raise Damaged(f"{path} cannot be read ({error}): restore a backup") from error
    return body


def _replace_manifest(disk: Disk, body: dict[str, Any]) -> None:
    text = json.dumps({"manifest": body, "crc32": zlib.crc32(_compact(body))}, indent=1)
    temporary = MANIFEST + ".tmp"
    if temporary in disk.names():
        disk.remove(temporary)
    file = disk.open(temporary, create=True)
    try:
        file.write(text.encode(), 0)
        file.sync()
    finally:
        file.close()
    disk.rename(temporary, MANIFEST)
    disk.sync_dir()


def _remove_others(disk: Disk, named: set[str], generation: int) -> None:
    for name in disk.names():
        # A vacuum may be writing a later generation right now.
        if name not in named and _generation(name) <= generation:
            disk.remove(name)


def _remove_later(disk: Disk, generation: int) -> None:
    for name in disk.names():
        if _generation(name) > generation:
            disk.remove(name)


def _number(name: str) -> int:
    parts = name.rsplit(".", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0


def _generation(name: str) -> int:
    return _number(name) if name.endswith(".rows") else 0


def _compact(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def restate(directory: Path, changes: Mapping[str, Any]) -> None:
    """Replace some members of the manifest's content; rows and indexes stay as they are.

    Raises PersistenceFailed; then the manifest before still holds.
    """
    try:
        body = _read_manifest(directory / MANIFEST)
        content = {**body["content"], **changes}
        _replace_manifest(Disk(directory), {**body, "content": content})
    except OSError as error:
        raise refusal_of(error, f"{directory} could not be written") from error


def is_leftover(directory: Path) -> bool:
    """Whether there is nothing here but what a creation or a removal that was cut off leaves."""
    suffixes = (SUFFIX, _INDEX_SUFFIX, MANIFEST + ".tmp")
    return all(name.endswith(suffixes) for name in os.listdir(directory))


def remove(directory: Path) -> None:
    """Remove the directory of a collection that was deleted. Raises OSError."""
    # The manifest first: without it this is no collection, whatever else a crash leaves.
    (directory / MANIFEST).unlink(missing_ok=True)
    Disk(directory).sync_dir()
    for entry in directory.iterdir():
        os.unlink(entry)
    directory.rmdir()
