"""Cut a damaged log back to its whole part, and keep a copy of every byte that is cut."""

import os
import shutil
import time
from itertools import pairwise
from pathlib import Path

import attrs
import msgspec

from kissvdb.epochs import new_epoch
from kissvdb.errors import Damaged
from kissvdb.storage.data_dir import (
    META_NAME,
    Meta,
    NewerFormat,
    read_meta,
    sync_directory,
    write_meta,
)
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.inspection import (
    CheckReport,
    SegmentState,
    chain_problem,
    examine,
    read_segments,
)
from kissvdb.storage.log.segment import (
    SegmentHeader,
    create_segment,
    index_name,
    remove_segment,
    segment_name,
)


@attrs.frozen
class RepairReport:
    """What ``repair`` did, and what ``check`` says after it. ``cut_dir`` holds what was cut."""

    actions: tuple[str, ...]
    cut_dir: Path | None
    after: CheckReport

    @property
    def ok(self) -> bool:
        return self.after.ok

    def lines(self) -> list[str]:
        """The report as text for people."""
        lines = [f"repaired: {action}" for action in self.actions] or ["nothing to repair"]
        if self.cut_dir is not None:
            lines.append(f"what was cut is kept in {self.cut_dir}")
        return lines + self.after.lines()


@attrs.frozen
class Cut:
    """Where the log is cut: at byte ``position`` of segment number ``index``; 0 takes it whole."""

    index: int
    position: int


def mend(directory: Path) -> RepairReport:
    """Repair a directory that the caller has locked.

    The offset floor is raised over every offset that may have been in what is cut *before*
    anything is cut, and the damaged segment is cut last: after a crash in between the damage is
    still found, and a second repair ends what the first began.
    """
    return _Mend(directory).run()


def find_cut(disk: Disk, states: list[SegmentState]) -> Cut | None:
    """The first place after which the log cannot be read; a torn tail is one, too."""
    for index, state in enumerate(states):
        if index and chain_problem(disk, states[index - 1], state) is not None:
            return Cut(index, 0)
        if state.segment is None or state.tail is None:
            # A segment that a crash left half made is for the next start to remove.
            return Cut(index, 0) if state.size or index < len(states) - 1 else None
        if state.tail.used_bytes:
            return Cut(index, state.segment.end)
    return None


def foresee(directory: Path) -> tuple[str, ...]:
    """What `mend` would do to the files of a directory as it is now."""
    disk = Disk(directory / "log")
    states = read_segments(directory)
    cut = find_cut(disk, states)
    done = [] if _has_meta(directory) else [f"write a new {META_NAME}"]
    kept = states if cut is None else states[: cut.index + (cut.position > 0)]
    done += [
        f"write the header of {disk.path(segment_name(state.first_offset))} again"
        for state in kept
        if state.header_lost
    ]
    if cut is None:
        return tuple(done)
    done += [
        f"take {disk.path(segment_name(state.first_offset))} away: {state.size} bytes"
        for state in states[len(kept) :]
    ]
    state = states[cut.index]
    first = state.first_offset
    if cut.position:
        assert state.segment is not None
        first = state.segment.next_offset
        path = disk.path(segment_name(state.first_offset))
        done.append(f"cut {path} at byte {cut.position}: {state.size - cut.position} bytes")
    last = max(first, *(state.issued_offset for state in states[cut.index :]))
    done.append(f"lose the offsets from {first} on, {last} at most")
    done.append(f"keep a copy of what it cuts in {directory}/cut-<time>")
    return tuple(done)


def _has_meta(directory: Path) -> bool:
    try:
        return read_meta(directory) is not None
    except NewerFormat:
        raise
    except Damaged:
        return False


class _Mend:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        self._disk = Disk(self._log)
        self._cut_dir: Path | None = None
        self._actions: list[str] = []

    def run(self) -> RepairReport:
        meta = self._mend_meta()
        self._log.mkdir(exist_ok=True)
        states = read_segments(self._directory)
        cut = find_cut(self._disk, states)
        found = examine(self._directory)
        # A table beyond the log's end knows of offsets that the log has lost.
        issued = max((view.applied_offset for view in found.views), default=0)
        issued = issued if issued > found.last_offset else 0
        if cut is not None:
            issued = max(issued, *(state.issued_offset for state in states[cut.index :]))
        if issued > meta.offset_floor:
            # Clients may have seen what is cut: their places are of a history that is no more.
            meta = msgspec.structs.replace(
                meta, offset_floor=issued, epoch=new_epoch(), epoch_floor=issued
            )
            write_meta(self._directory, meta)
            self._actions.append(f"no offset up to {issued} will be used again")
        if cut is not None:
            self._cut(states, cut)
        self._mend_headers(states[: None if cut is None else cut.index + (cut.position > 0)])
        return RepairReport(tuple(self._actions), self._cut_dir, examine(self._directory))

    def _mend_meta(self) -> Meta:
        """The content of meta.json, written anew if it is unreadable."""
        try:
            meta = read_meta(self._directory)
        except NewerFormat:
            raise
        except Damaged:
            shutil.copy2(self._directory / META_NAME, self._keep() / META_NAME)
            meta = None
        if meta is None:
            meta = Meta.new()
            write_meta(self._directory, meta)
            self._actions.append(f"wrote a new {META_NAME}; the database has a new id")
        return meta

    def _cut(self, states: list[SegmentState], cut: Cut) -> None:
        """Take away everything from the cut on, the newest segment first."""
        kept = cut.index + (cut.position > 0)
        for state in reversed(states[kept:]):
            self._move(state)
        state = states[cut.index]
        if cut.position:
            self._truncate(state, cut.position)
        elif cut.index == 0:
            # An empty segment in its place says where the log begins.
            header = SegmentHeader.new(state.first_offset, state.first_offset - 1)
            create_segment(self._disk, header).close()

    def _move(self, state: SegmentState) -> None:
        name = segment_name(state.first_offset)
        shutil.copy2(self._log / name, self._keep() / name)
        self._sync(self._keep() / name)
        remove_segment(self._disk, state.first_offset)
        self._actions.append(f"took {self._log / name} away ({state.size} bytes)")

    def _truncate(self, state: SegmentState, position: int) -> None:
        """Cut a segment's end off; the copy's name says where it was."""
        name = segment_name(state.first_offset)
        copy = self._keep() / f"{name}.from-{position}"
        with (self._log / name).open("rb") as source, copy.open("wb") as out:
            source.seek(position)
            shutil.copyfileobj(source, out)
        self._sync(copy)
        index = index_name(state.first_offset)
        if index in self._disk.names():
            self._disk.remove(index)
            self._disk.sync_dir()
        file = self._disk.open(name)
        try:
            file.truncate(position)
            file.sync()
        finally:
            file.close()
        self._actions.append(f"cut {self._log / name} at byte {position}")

    def _mend_headers(self, states: list[SegmentState]) -> None:
        """Write again the headers that were read off the first frame of their segment."""
        links = [(None, state) for state in states[:1]] + list(pairwise(states))
        for before, state in links:
            if not state.header_lost or state.segment is None:
                continue
            header = state.segment.header
            if before is not None and before.segment is not None:
                header = attrs.evolve(header, previous_offset=before.segment.last_offset)
            file = self._disk.open(segment_name(state.first_offset))
            try:
                file.write_durable(header.encode(), 0)
            finally:
                file.close()
            self._actions.append(f"wrote the header of {self._disk.path(state.segment.name)} again")

    def _keep(self) -> Path:
        """The folder for what is cut."""
        if self._cut_dir is None:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            folder, number = self._directory / f"cut-{stamp}", 1
            while folder.exists():
                number += 1
                folder = self._directory / f"cut-{stamp}-{number}"
            folder.mkdir()
            sync_directory(self._directory)
            self._cut_dir = folder
        return self._cut_dir

    def _sync(self, copy: Path) -> None:
        """A copy is on disk before what it was made from goes away."""
        fd = os.open(copy, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(copy.parent)
