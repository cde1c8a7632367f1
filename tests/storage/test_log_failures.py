"""The event log on a disk that refuses: full, read-only, failing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kissvdb.errors import OutcomeUnknown, Overloaded, PersistenceFailed
from kissvdb.storage.disk import Disk, DiskFile
from kissvdb.storage.log.segment import segment_name
from tests.storage.sample_log import fake, fill, offsets, open_log, read_all


def test_a_full_disk_refuses_the_write_and_takes_the_next_when_there_is_room() -> None:
    disk = fake()
    log = open_log(disk)
    fill(log, 3)
    size = len(disk.content(segment_name(1)))
    disk.capacity_bytes = size
    with pytest.raises(PersistenceFailed, match="No space left"):
        log.append(0, [bytes(size)])
    assert len(disk.content(segment_name(1))) == size
    assert offsets(read_all(log)) == [1, 2, 3]
    fill(log, 1)
    disk.capacity_bytes = None
    assert log.append(0, [bytes(size)]) == 5
    assert offsets(read_all(open_log(disk))) == [1, 2, 3, 4, 5]


def test_a_disk_with_room_for_the_record_but_not_for_zeros_ahead_takes_it() -> None:
    disk = fake()
    log = open_log(disk)
    disk.capacity_bytes = len(disk.content(segment_name(1))) + 500
    fill(log, 2)
    with pytest.raises(PersistenceFailed):
        fill(log, 5)
    assert offsets(read_all(open_log(disk))) == list(range(1, log.next_offset))


def test_a_full_disk_at_a_rotation_leaves_the_last_segment_in_use() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 6)
    names = disk.names()
    disk.capacity_bytes = sum(len(disk.content(name)) for name in names) + 20
    with pytest.raises(PersistenceFailed, match="new log segment"):
        fill(log, 1)
    assert [name for name in disk.names() if name.endswith(".log")] == names
    disk.capacity_bytes = None
    fill(log, 1)
    disk.crash()
    assert offsets(read_all(open_log(disk, segment_bytes_max=1_000))) == list(range(1, 8))


@pytest.mark.parametrize("opens_left", [0, 1])
@pytest.mark.parametrize("power", ["stays", "fails"])
def test_a_rotation_without_a_free_descriptor_is_refused_and_the_next_write_works(
    opens_left: int, power: str
) -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 6)
    names = [name for name in disk.names() if name.endswith(".log")]
    disk.opens_left = opens_left
    for _ in range(3):
        # Each try has as many as it had.
        disk.opens_left = opens_left
        with pytest.raises(PersistenceFailed, match=r"Too many open files.*limit of open files"):
            fill(log, 1)
    disk.opens_left = None
    assert [name for name in disk.names() if name.endswith(".log")] == names
    if power == "fails":
        disk.crash()
        log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 1)
    disk.crash()
    assert offsets(read_all(open_log(disk, segment_bytes_max=1_000))) == list(range(1, 8))


def test_a_read_without_a_free_descriptor_is_refused_and_the_next_one_works() -> None:
    disk = fake()
    log = open_log(disk)
    fill(log, 3)
    disk.opens_left = 0
    with pytest.raises(Overloaded, match="Too many open files"):
        read_all(log)
    disk.opens_left = None
    assert offsets(read_all(log)) == [1, 2, 3]


class _Failing(Disk):
    """A real directory whose files fail to write on command."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failures: list[int] = []

    def open(self, name: str, *, create: bool = False, read_only: bool = False) -> DiskFile:
        file = super().open(name, create=create, read_only=read_only)
        write, truncate = file.write_durable, file.truncate

        def guarded(action: Callable[..., None]) -> Callable[..., None]:
            def act(*arguments: object) -> None:
                if self.failures:
                    number = self.failures.pop(0)
                    if number == errno.ENOSPC:
                        # Some of it got in before the disk was full.
                        file.write(b"partial", file.size())
                    raise OSError(number, os.strerror(number))
                action(*arguments)

            return act

        file.write_durable = guarded(write)  # type: ignore[method-assign]
        file.truncate = guarded(truncate)  # type: ignore[method-assign]
        return file


@pytest.mark.parametrize("number", [errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_takes_no_write_at_all_refuses_and_the_log_serves_on(
    tmp_path: Path, number: int
) -> None:
    disk = _Failing(tmp_path)
    log = open_log(disk)
    fill(log, 2)
    disk.failures = [number]
    with pytest.raises(PersistenceFailed, match="nothing was written"):
        fill(log, 1)
    fill(log, 1)
    assert offsets(read_all(log)) == [1, 2, 3]
    log.close()


def test_a_failed_sync_stops_the_log_for_good(tmp_path: Path) -> None:
    disk = _Failing(tmp_path)
    log = open_log(disk)
    fill(log, 2)
    disk.failures = [errno.EIO]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="the process must stop"):
            log.append(0, [b"x"])
    assert offsets(read_all(log)) == [1, 2]
    log.close()


def test_a_partial_write_that_cannot_be_taken_back_stops_the_log(tmp_path: Path) -> None:
    disk = _Failing(tmp_path)
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 1)
    disk.failures = [errno.ENOSPC, errno.EIO]
    with pytest.raises(OutcomeUnknown, match="take back"):
        fill(log, 1)
    log.close()
    again = open_log(Disk(tmp_path))
    assert again.report is not None
    assert offsets(read_all(again)) == [1]
    again.close()


def test_a_closed_log_takes_nothing_more() -> None:
    log = open_log(fake())
    log.close()
    with pytest.raises(OutcomeUnknown, match="closed"):
        log.append(0, [b"x"])
