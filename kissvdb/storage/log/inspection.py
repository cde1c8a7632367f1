"""Read a whole data directory and say what is wrong with it. Changes nothing, takes no lock."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import attrs

from kissvdb.errors import Damaged, PersistenceFailed
from kissvdb.storage.data_dir import META_NAME, Meta, NewerFormat, read_meta
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.frames import MARKER_BYTES, FrameScan, records_max, used_end
from kissvdb.storage.log.segment import (
    HEADER_BYTES,
    Segment,
    SegmentHeader,
    Tail,
    boundaries_of,
    decode_header,
    first_offset_of,
    read_index,
    scan,
    segment_name,
)
from kissvdb.storage.sql.checking import sound_offset
from kissvdb.storage.sql.connecting import read_only

if TYPE_CHECKING:
    from kissvdb.storage.rows import files as row_files

REPAIR = "run `kissvdb check --repair`"

VerifyRows = Callable[["row_files.Opened"], Iterable[str]]
"""Compares the rows of a collection's checkpoint with their checksums; answers what else is wrong
in its directory. Raises Damaged."""


@attrs.frozen
class View:
    """A table file and the offset it has applied."""

    name: str
    applied_offset: int


@attrs.frozen
class CheckReport:
    """What was found. ``problems`` need somebody, ``notes`` do not. ``repairs``: what a repair
    would do."""

    path: Path
    first_offset: int
    last_offset: int
    records: int
    segments: int
    log_bytes: int
    epochs: tuple[str, ...] = ()
    views: tuple[View, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        """The report as text for people."""
        lines = [f"{self.path}"]
        size = f"{_count(self.segments, 'segment')}, {_count(self.log_bytes, 'byte')}"
        if self.records:
            span = f"offsets {self.first_offset} to {self.last_offset}"
            lines.append(f"  log: {_count(self.records, 'record')}, {span}, {size}")
        else:
            lines.append(f"  log: no records, {size}")
        lines += [f"  {epoch}" for epoch in self.epochs]
        lines += [
            f"  {view.name}: applied up to offset {view.applied_offset}" for view in self.views
        ]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        if self.repairs:
            lines.append(f"  `kissvdb check --repair {shlex.quote(str(self.path))}` would")
            lines += [f"    {repair}" for repair in self.repairs]
        lines.append("ok" if self.ok else _count(len(self.problems), "problem"))
        return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@attrs.frozen
class SegmentState:
    """One segment file as it was found; ``segment`` and ``tail`` are None without a header.

    ``header_lost`` says that the header had to be read off the first frame.
    """

    first_offset: int
    size: int
    segment: Segment | None = None
    tail: Tail | None = None
    header_lost: bool = False

    @property
    def issued_offset(self) -> int:
        """The highest offset that this file may hold or have held."""
        if self.segment is None or self.tail is None:
            return self.first_offset - 1 + records_max(self.size)
        return max(self.segment.next_offset - 1, self.tail.issued_offset)


def no_rows(opened: "row_files.Opened") -> Iterable[str]:
    """Verifies nothing: for who only needs to know what the log must hold."""
    return ()


def examine(directory: Path, verify_rows: VerifyRows = no_rows) -> CheckReport:
    """Verify every frame of every segment, their order, the indexes, meta.json, the tables, the
    checkpoints of collections, and by ``verify_rows`` (raises Damaged) their rows."""
    notes: list[str] = []
    problems: list[str] = []
    meta = _check_meta(directory, problems)
    floor = 0 if meta is None else meta.offset_floor
    states = read_segments(directory)
    disk = Disk(directory / "log")
    for position, state in enumerate(states):
        last = position == len(states) - 1
        found = segment_problem(disk, state, last=last)
        if found is not None:
            problems.append(f"{found}: {REPAIR}")
        elif state.tail is not None and state.tail.used_bytes:
            notes.append(
                f"{disk.path(segment_name(state.first_offset))}: {state.tail.used_bytes} bytes of "
                "an unfinished write at its end; the next start cuts them off"
            )
        _check_index(disk, state, notes)
    for before, after in pairwise(states):
        found = chain_problem(disk, before, after)
        if found is not None:
            problems.append(f"{found}: {REPAIR}")
    segments = [state.segment for state in states if state.segment is not None]
    filled = [segment for segment in segments if not segment.empty]
    first = segments[0].header.previous_offset + 1 if segments else floor + 1
    last_offset = max([floor, *(segment.next_offset - 1 for segment in segments)])
    log_is_whole = not problems
    views = _tables(directory, first, problems)
    views += _sql(directory, meta, first, notes, problems)
    views += _collections(directory / "vectors", notes, problems, verify_rows)
    if states:
        _check_views(directory, views, first, last_offset, log_is_whole, problems)
    else:
        _note_views(directory, views, last_offset, notes)
    # After that: what they have applied binds nobody, since they are made of the keys.
    views += _collections(directory / "documents", notes, problems, verify_rows, are_derived=True)
    return CheckReport(
        path=directory,
        first_offset=filled[0].first_offset if filled else 0,
        last_offset=filled[-1].last_offset if filled else 0,
        records=sum(segment.last_offset - segment.first_offset + 1 for segment in filled),
        segments=len(states),
        log_bytes=sum(state.size for state in states),
        epochs=tuple(_epochs(meta, [segment.header for segment in segments])),
        views=tuple(views),
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _epochs(meta: Meta | None, headers: Sequence[SegmentHeader]) -> Iterator[str]:
    """What meta.json and the log say of the database's epochs."""
    for each in boundaries_of(headers):
        if each.epoch:
            yield f"epoch {each.epoch}: ended at offset {each.last}"
    if meta is not None and meta.epoch:
        yield f"epoch {meta.epoch}: began after offset {meta.epoch_floor}"


def _check_meta(directory: Path, problems: list[str]) -> Meta | None:
    """The content of meta.json, if it is readable."""
    try:
        meta = read_meta(directory)
    except NewerFormat:
        raise
    except Damaged as error:
        problems.append(error.message)
        return None
    if meta is None:
        problems.append(f"{directory / META_NAME} is missing: {REPAIR} to write a new one")
    return meta


def read_segments(directory: Path) -> list[SegmentState]:
    """Every segment file of the directory's log, read to its end, oldest first."""
    log = directory / "log"
    if not log.is_dir():
        return []
    disk = Disk(log)
    firsts = [first for name in disk.names() if (first := first_offset_of(name)) is not None]
    return [_read_segment(disk, first) for first in firsts]


def _read_segment(disk: Disk, first: int) -> SegmentState:
    name = segment_name(first)
    file = disk.open(name, read_only=True)
    try:
        size = file.size()
        head = file.pread(HEADER_BYTES + MARKER_BYTES, 0)
        header = decode_header(head[:HEADER_BYTES], disk.path(name), first)
        lost = header is None
        if header is None:
            # The first frame's marker is the segment's; what it lacks is only the link backwards.
            header = SegmentHeader(first, first - 1, head[HEADER_BYTES:])
            frames = FrameScan(file, header.marker, at=HEADER_BYTES, end=size, expected=first)
            if len(header.marker) < MARKER_BYTES or next(iter(frames), None) is None:
                if used_end(file, HEADER_BYTES, size) <= HEADER_BYTES:
                    size = 0
                return SegmentState(first, size)
        segment, tail = scan(file, header)
        return SegmentState(first, size, segment, tail, lost)
    finally:
        file.close()


def segment_problem(disk: Disk, state: SegmentState, *, last: bool) -> str | None:
    """What is wrong within a segment file; a torn tail is nothing wrong at the log's end."""
    path = disk.path(segment_name(state.first_offset))
    if state.segment is None or state.tail is None:
        # A crash may leave a new segment without a header, and then nothing in it.
        return None if last and state.size == 0 else f"{path}: the header at byte 0 is damaged"
    if state.header_lost:
        return f"{path}: the header at byte 0 is damaged"
    if state.tail.damaged_at is not None or (state.tail.used_bytes and not last):
        return (
            f"{path}: the record with offset {state.segment.next_offset} at byte "
            f"{state.segment.end} is damaged"
        )
    return None


def chain_problem(disk: Disk, before: SegmentState, after: SegmentState) -> str | None:
    """What is wrong between a segment and the next one."""
    if before.segment is None or after.segment is None or after.header_lost:
        return None
    expected = after.segment.header.previous_offset
    if before.segment.last_offset == expected:
        return None
    return (
        f"{disk.path(segment_name(after.first_offset))} follows offset {expected}, but the segment "
        f"before it ends with {before.segment.last_offset}: a part of the log is missing"
    )


def _check_index(disk: Disk, state: SegmentState, notes: list[str]) -> None:
    """A bad index is rebuilt at the next start, so it is no problem."""
    segment = state.segment
    if segment is None:
        return
    index = read_index(disk, segment.header)
    if index is None or index.last_offset != segment.last_offset:
        # The last segment has none, or one from before it was used again.
        return
    wrong = index.end != segment.end or index.index.offsets != segment.index.offsets
    if wrong or index.index.positions != segment.index.positions:
        notes.append(f"the index of {disk.path(segment.name)} does not match it: remove it")


def _check_views(
    directory: Path,
    views: Sequence[View],
    first_offset: int,
    last_offset: int,
    log_is_whole: bool,
    problems: list[str],
) -> None:
    for view in views:
        name, applied = directory / view.name, view.applied_offset
        if applied > last_offset and log_is_whole:
            problems.append(
                f"{name} has applied offset {applied}, but the log ends at {last_offset}: the "
                f"log's end is lost; {REPAIR}"
            )
        elif applied + 1 < first_offset:
            problems.append(
                f"{name} has applied offset {applied}, but the log begins at {first_offset}: "
                "restore a backup"
            )


def _note_views(directory: Path, views: Sequence[View], last_offset: int, notes: list[str]) -> None:
    """There is no log at all: somebody has removed it."""
    notes.extend(
        f"{directory / view.name} has applied offset {view.applied_offset}, but the log ends at "
        f"{last_offset}: its files are gone; offsets go on after the table's"
        for view in views
        if view.applied_offset > last_offset
    )


def _tables(directory: Path, first_offset: int, problems: list[str]) -> list[View]:
    views = []
    for file in sorted(directory.glob("state-*.db")):
        try:
            views.append(View(file.name, _check_table(file)))
        except (apsw.Error, Damaged) as error:
            problems.append(
                f"{file} is damaged ({error}): move it away if the log reaches back to offset 1 "
                f"(it begins at {first_offset}), else restore a backup"
            )
    return views


def _sql(
    directory: Path, meta: Meta | None, first_offset: int, notes: list[str], problems: list[str]
) -> list[View]:
    file = directory / "sql.db"
    restore = f"the log begins at {first_offset}: restore a backup"
    is_whole = first_offset <= 1
    if not file.exists():
        if meta is not None and meta.has_sql and is_whole:
            notes.append(f"{file} is missing: it is made anew from the log at the next start")
        elif meta is not None and meta.has_sql:
            problems.append(f"{file} is missing: {restore}")
        return []
    try:
        return [View(file.name, sound_offset(file))]
    except (apsw.Error, Damaged) as error:
        remedy = "move it away, and the next start makes it anew" if is_whole else restore
        problems.append(f"{file} is damaged ({error}): {remedy}")
        return []


def _collections(
    directory: Path,
    notes: list[str],
    problems: list[str],
    verify_rows: VerifyRows,
    *,
    are_derived: bool = False,
) -> list[View]:
    """The checkpoints of collections. Those that are derived are made anew if they are damaged, so
    that is no problem."""
    lost, remedy = problems, "restore a backup"
    if are_derived:
        lost, remedy = notes, "it is made anew from the keys at the next start"
    views = []
    for manifest in sorted(directory.glob("*/manifest.json")):
        # Imported for them only, because numpy comes with it.
        from kissvdb.storage.rows import files as row_files

        opened = None
        try:
            opened = row_files.open_directory(manifest.parent)
            applied = int(opened.manifest["offset"])
            if "rows" in opened.indexes:
                found = verify_rows(opened)
                problems += [f"{manifest.parent}: {each}" for each in found]
        except PersistenceFailed as error:
            problems.append(f"{manifest.parent} cannot be read whole: {error.message}")
            continue
        except (Damaged, KeyError, TypeError, ValueError) as error:
            lost.append(f"{manifest.parent} is damaged ({error}): {remedy}")
            continue
        finally:
            if opened is not None:
                opened.arrays.close()
        views.append(View(f"{directory.name}/{manifest.parent.name}", applied))
        for name, reason in opened.damaged.items():
            if name == "rows":
                lost.append(f"{reason}: {remedy}")
            else:
                notes.append(f"{reason}: the index {name!r} is made anew at the next start")
    return views


def _check_table(file: Path) -> int:
    """The applied offset of a table that SQLite finds sound."""
    connection = read_only(file)
    try:
        verdicts = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
        if verdicts != ["ok"]:
            raise Damaged("; ".join(verdicts))
        row = connection.execute("SELECT v FROM meta WHERE k = 'applied'").fetchone()
    finally:
        connection.close()
    if row is None or not isinstance(row[0], int):
        raise Damaged("it names no applied offset")
    return row[0]
