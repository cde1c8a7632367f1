"""io_uring as the kernel of this machine has it, or has not."""

import errno
import os
import select

import pytest

from kissvdb.storage.log.uring import Uring


def ring_or_none():
    try:
        return Uring()
    except OSError:
        return None


available = ring_or_none()
if available is not None:
    available.close()
pytestmark = pytest.mark.skipif(available is None, reason="this kernel lets us have no io_uring")


@pytest.fixture
def ring():
    ring = Uring()
    yield ring
    ring.close()


def result(ring):
    assert select.select([ring], [], [], 10)[0]
    found = ring.take()
    assert found is not None
    return found


def test_what_was_written_is_in_the_file_where_it_belongs(ring, tmp_path):
    path = tmp_path / "log"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    at = 0
    expected = b""
    for number in range(50):
        data = bytes([number]) * (1 + number * 997)
        ring.submit(fd, data, at)
        assert result(ring) == len(data)
        at += len(data)
        expected += data
    assert path.read_bytes() == expected
    assert ring.take() is None
    os.close(fd)


def test_a_refusal_of_the_kernel_is_the_result(ring, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"as it was")
    fd = os.open(path, os.O_RDONLY)
    ring.submit(fd, b"something else", 0)
    assert result(ring) == -errno.EBADF
    os.close(fd)
    assert path.read_bytes() == b"as it was"


def test_one_write_at_a_time(ring, tmp_path):
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    ring.submit(fd, b"one", 0)
    with pytest.raises(AssertionError, match="at a time"):
        ring.submit(fd, b"two", 3)
    assert result(ring) == 3
    os.close(fd)


def test_closing_waits_for_the_write_that_is_under_way(tmp_path):
    path = tmp_path / "log"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    ring = Uring()
    data = os.urandom(8 * 1024 * 1024)
    ring.submit(fd, data, 0)
    ring.close()
    assert path.read_bytes() == data
    ring.close()
    os.close(fd)


def test_rings_leave_no_descriptors_behind(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Uring().close()
    assert len(os.listdir("/proc/self/fd")) == before
