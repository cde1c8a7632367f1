"""Rows of a file, one after the other, and how far one is in it."""

import codecs
import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import attrs
import msgspec

from kissvdb.commands.files.cells import from_cell
from kissvdb.commands.files.formats import STDIO
from kissvdb.errors import Refused

Row = Mapping[str, Any]
CELL_CHARS_MAX = 16 * 1024 * 1024


@attrs.frozen
class Rows:
    """``place`` names what a row's number counts. ``part``: how much is read, from 0 to 1; None
    where the end is not known."""

    rows: Iterator[tuple[int, Row]]
    place: str
    part: Callable[[], float | None] = lambda: None


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """The file, or standard input, which stays open."""
    if name == STDIO:
        yield standard_input().buffer
        return
    with Path(name).open("rb") as file:
        yield file


def standard_input() -> TextIO:
    """Raises Refused where the program was started with it closed."""
    if sys.stdin is None:
        raise Refused("standard input is closed: there is nothing to read")
    return sys.stdin


def json_lines(file: BinaryIO) -> Rows:
    """One JSON object a line; empty lines do not count."""
    return Rows(_json_lines(file), "line", _part_of(file))


def _json_lines(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(_without_mark(file), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Refused(f"line {number}: not a JSON object: {error}") from None


def _without_mark(file: BinaryIO) -> Iterator[bytes]:
    """The lines, without the mark that some programs begin UTF-8 with."""
    first = file.readline()
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from file


def table(file: BinaryIO, texts: bool) -> Rows:
    """CSV with a header. ``texts``: every cell is one, else see `cells`."""
    return Rows(_table(file, texts), "line", _part_of(file))


def _table(file: BinaryIO, texts: bool) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(CELL_CHARS_MAX)
    # Lines of bytes, because text is also cut at characters that may stand in a cell.
    reader = csv.reader((line.decode() for line in _without_mark(file)), strict=True)
    try:
        names = next(reader, None)
        if names is None:
            return
        if len(set(names)) != len(names):
            raise Refused("line 1: two columns of the same name")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                what = f"{len(cells)} cells, and the header has {len(names)}"
                raise Refused(f"line {reader.line_num}: {what}")
            if texts:
                yield reader.line_num, dict(zip(names, cells, strict=True))
            else:
                named = zip(names, cells, strict=True)
                yield reader.line_num, {name: from_cell(cell) for name, cell in named if cell}
    except (csv.Error, UnicodeDecodeError) as error:
        raise Refused(f"after line {reader.line_num}: not CSV in UTF-8: {error}") from None


def _part_of(file: BinaryIO) -> Callable[[], float | None]:
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    except OSError:
        return lambda: None

    def part() -> float | None:
        # What is buffered counts as read; a bar is no clock.
        return file.tell() / size if size and not file.closed else None

    return part
