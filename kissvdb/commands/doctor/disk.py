"""The data directory's disk: how long a sync takes is how long a write waits."""

import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kissvdb.commands.doctor.findings import NOTE, OK, PROBLEM, Finding
from kissvdb.storage.data_dir import SCRATCH_PREFIX
from kissvdb.storage.log.uring import Uring

SECTION = "disk"
SYNCS_MAX = 200
SECONDS_MAX = 2.0
BLOCK = 4096
SLOW_MS = 50.0
FREE_BYTES_LEAST = 1024**3
# Of file systems that keep nothing when the machine stops, or whose sync promises little.
_DOUBTFUL = {"tmpfs": "in memory: gone when the machine stops", "ramfs": "in memory"}
_NO_MOUNT: tuple[str, str | None] = ("", None)
_REMOTE = ("nfs", "cifs", "smb", "fuse")


def look(directory: Path | None) -> Iterator[Finding]:
    """``directory`` None: the database is in memory."""
    yield _io_uring()
    if directory is None:
        yield Finding(SECTION, "data directory", None, NOTE, "storage.memory: nothing is kept")
        return
    yield Finding(SECTION, "data directory", str(directory.absolute()))
    there = next(each for each in (directory, *directory.absolute().parents) if each.exists())
    yield _kind(there)
    yield _room(there)
    if not directory.is_dir():
        advice = "does not exist yet, so its sync was not measured: start the server once"
        yield Finding(SECTION, "sync", None, NOTE, advice)
    elif not os.access(directory, os.W_OK):
        yield Finding(SECTION, "writable", False, PROBLEM, "this user may not write there")
    else:
        yield from _measured(directory)


def _io_uring() -> Finding:
    try:
        Uring().close()
    except OSError as error:
        advice = f"{error.strerror}: the log is written by a thread, a little slower"
        return Finding(SECTION, "io_uring", False, NOTE, advice)
    return Finding(SECTION, "io_uring", True)


def _kind(place: Path) -> Finding:
    kind = _file_system(place)
    if kind in _DOUBTFUL:
        return Finding(SECTION, "file system", kind, PROBLEM, _DOUBTFUL[kind])
    if kind is not None and kind.startswith(_REMOTE):
        advice = "over a network: what a sync promises depends on the other side"
        return Finding(SECTION, "file system", kind, NOTE, advice)
    return Finding(SECTION, "file system", kind)


def _file_system(place: Path) -> str | None:
    """The kind of the deepest mount above it, from /proc/self/mountinfo (proc(5))."""
    try:
        text = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return None
    wanted, best = str(place.resolve()), _NO_MOUNT
    for line in text.splitlines():
        front, _, back = line.partition(" - ")
        point = front.split()[4].replace("\\040", " ")
        inside = point == "/" or wanted == point or wanted.startswith(f"{point}/")
        if inside and len(point) >= len(best[0]):
            best = (point, back.split()[0])
    return best[1]


def _room(place: Path) -> Finding:
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.1f}"
    if usage.free < FREE_BYTES_LEAST:
        return Finding(SECTION, "free", free, PROBLEM, "a full disk refuses writes: make room")
    return Finding(SECTION, "free", free)


def _measured(directory: Path) -> Iterator[Finding]:
    file = _nameless(directory)
    try:
        took = _syncs(file)
        ordered = sorted(took)
        at = {p: ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99)}
        value = {
            "p50_ms": round(at[50] * 1e3, 3),
            "p99_ms": round(at[99] * 1e3, 3),
            "per_second": round(len(took) / sum(took)),
        }
        slow = at[99] * 1e3 > SLOW_MS
        advice = "a write waits for a sync: use a faster disk, or batches" if slow else ""
        yield Finding(SECTION, "fdatasync 4 KiB", value, NOTE if slow else OK, advice)
        yield _direct(file)
    finally:
        os.close(file)


def _nameless(directory: Path) -> int:
    """A file in the directory that nobody sees and that is gone when it is closed."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError:
        # Not every file system has such. A server would clear this name away, should we die.
        file, name = tempfile.mkstemp(prefix=SCRATCH_PREFIX, dir=directory)
        os.unlink(name)
        return file


def _syncs(file: int) -> list[float]:
    """The seconds of every sync, each after 4 KiB more, as the log grows."""
    took: list[float] = []
    block = os.urandom(BLOCK)
    began = time.monotonic()
    while len(took) < SYNCS_MAX and time.monotonic() - began < SECONDS_MAX:
        os.write(file, block)
        before = time.perf_counter()
        os.fdatasync(file)
        took.append(time.perf_counter() - before)
    return took


def _direct(file: int) -> Finding:
    """Whether O_DIRECT works there; the database does without, its reports are better with it."""
    try:
        direct = os.open(f"/proc/self/fd/{file}", os.O_RDWR | os.O_DIRECT)
    except OSError as error:
        return Finding(SECTION, "O_DIRECT", False, OK, f"{error.strerror}: not needed")
    try:
        with mmap.mmap(-1, BLOCK) as aligned:
            return Finding(SECTION, "O_DIRECT", os.pwrite(direct, aligned, 0) == BLOCK)
    except OSError as error:
        return Finding(SECTION, "O_DIRECT", False, OK, f"{error.strerror}: not needed")
    finally:
        os.close(direct)
