"""Rows into a file, or to standard output."""

import csv
import io
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kissvdb.commands.files.cells import to_cell
from kissvdb.commands.files.formats import STDIO
from kissvdb.commands.files.reading import Row
from kissvdb.errors import Refused

COLUMNS_MAX = 10_000
_encode = msgspec.json.encode


@contextmanager
def created(name: str) -> Iterator[BinaryIO]:
    """The file, whole or not at all: it takes its name when all is written."""
    if name == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    beside = path.with_name(f".{path.name}.partial")
    try:
        file = beside.open("wb")
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}") from None
    try:
        with file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def json_lines(rows: Iterable[Row], file: BinaryIO) -> None:
    """One JSON object a line."""
    for row in rows:
        file.write(_encode(row) + b"\n")


class Spool:
    """Rows in a temporary file, because a table begins with what is known at its end: the names of
    its columns."""

    def __init__(self, rows: Iterable[Row], first: Sequence[str]) -> None:
        """``first``: columns there are, even without rows."""
        self.columns: dict[str, None] = dict.fromkeys(first)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        for row in rows:
            self.columns.update(dict.fromkeys(row))
            if len(self.columns) > COLUMNS_MAX:
                self.close()
                raise Refused(f"over {COLUMNS_MAX} different fields: too many for columns")
            self._file.write(_encode(row) + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        for line in self._file:
            yield msgspec.json.decode(line)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


def table(rows: Iterable[Row], file: BinaryIO, first: Sequence[str]) -> None:
    """CSV with a header, cells as in `cells`."""
    spool = Spool(rows, first)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(spool.columns)
        for row in spool:
            writer.writerow([to_cell(row[name]) if name in row else "" for name in spool.columns])
    finally:
        text.detach()
        spool.close()
