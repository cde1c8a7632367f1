"""The seam over real files."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from kissvdb.storage import disk as disk_module
from kissvdb.storage.disk import Disk


def test_a_file_is_written_read_and_cut_by_position(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    file = disk.open("a", create=True)
    file.write_durable(b"hello world", 0)
    file.write(b"W", 6)
    assert file.pread(100, 6) == b"World"
    file.truncate(5)
    file.sync()
    assert file.size() == 5
    file.close()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"hello"
    with pytest.raises(FileExistsError):
        disk.open("a", create=True)
    with pytest.raises(FileNotFoundError):
        disk.open("b")


def test_names_follow_what_happens_to_the_files(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for name in ("b", "a"):
        disk.open(name, create=True).close()
    disk.rename("a", "c")
    disk.sync_dir()
    assert disk.names() == ["b", "c"]
    disk.remove("b")
    assert disk.names() == ["c"]
    assert disk.path("c") == str(tmp_path / "c")


@pytest.mark.skipif(not hasattr(os, "RWF_DSYNC"), reason="the flag is Linux's")
def test_a_durable_write_goes_on_after_the_kernel_took_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwritev
    calls = []

    def short(fd: int, parts: Sequence[memoryview], at: int, flags: int) -> int:
        calls.append(at)
        return real(fd, [parts[0][:3]], at, flags)

    monkeypatch.setattr(disk_module.os, "pwritev", short)
    file = Disk(tmp_path).open("a", create=True)
    file.write_durable(b"12345678", 4)
    assert calls == [4, 7, 10]
    assert file.pread(20, 0) == b"\0\0\0\x0012345678"
    file.close()


@pytest.mark.skipif(not hasattr(os, "RWF_DSYNC"), reason="the flag is Linux's")
def test_a_kernel_without_the_flag_gets_a_write_and_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fdatasync

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not here")

    def sync(fd: int) -> None:
        synced.append(fd)
        real(fd)

    monkeypatch.setattr(disk_module.os, "pwritev", refuse)
    monkeypatch.setattr(disk_module.os, "fdatasync", sync)
    file = Disk(tmp_path).open("a", create=True)
    file.write_durable(b"one", 0)
    file.write_durable(b"two", 3)
    assert len(synced) == 2
    assert file.pread(10, 0) == b"onetwo"
    file.close()
