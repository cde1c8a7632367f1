"""The log writer: group commit, through a thread, through io_uring, and when that fails."""

import errno
import os
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed, Workers, open_supervisor
from kissvdb import records
from kissvdb.config import Log, Stream
from kissvdb.engine.followers import Followers
from kissvdb.engine.log.local import LocalLog
from kissvdb.engine.log.writer import Append, LogWriter
from kissvdb.engine.stream.history import History
from kissvdb.engine.stream.hub import Hub
from kissvdb.epochs import Epochs
from kissvdb.errors import OutcomeUnknown, PersistenceFailed
from kissvdb.metrics import Metrics
from kissvdb.records import EventPublished
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.segmented_log import PREPARED_BYTES_MAX, SegmentedLog
from kissvdb.storage.log.uring import Uring

SEGMENT_BYTES = 64 * 1024 * 1024


class Ring:
    """A ring whose kernel does what the test says: one answer a write.

    An answer is a share of the bytes that reach the disk, or an errno.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.submitted = 0
        self.gate = None
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._result = None

    def fileno(self):
        return self._event

    def submit(self, fd, data, at):
        answer = self.answers.pop(0) if self.answers else 1.0
        if answer == "not begun":
            raise OSError(errno.EBUSY, "no room")
        self.submitted += 1
        if isinstance(answer, float):
            part = data[: int(len(data) * answer)]
            os.pwrite(fd, part, at)
            self._result = len(part)
        else:
            self._result = -answer
        if self.gate is None:
            self.complete()

    def complete(self):
        os.eventfd_write(self._event, 1)

    def take(self):
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return None
        return self._result

    def close(self):
        os.close(self._event)


def ring_of_this_machine():
    try:
        return Uring()
    except OSError:
        return Ring()


@asynccontextmanager
async def written(directory, ring):
    """A running writer: its log, its hub, and where to ask it."""
    disk = Disk(directory)
    log = SegmentedLog.open(disk, segment_bytes_max=SEGMENT_BYTES)
    local = LocalLog(log, disk, Log(io_uring=ring is not None), lambda: ring)
    async with local, open_supervisor() as supervisor:
        followers = Followers()
        writer = LogWriter(local, followers, lambda: 7, Metrics())
        hub = Hub(
            Stream(),
            History(local, Workers(1)),
            lambda: Epochs(""),
            lambda: writer.committed_offset,
        )
        followers.add(await supervisor.start(hub))
        yield log, hub, await supervisor.start(writer)
    local.close()


def events(*numbers, size=1):
    return Append([EventPublished(f"t{number}", b"1" * size) for number in numbers])


def types(log):
    found = log.read(0, bytes_max=10**9)
    return [records.decode(each.payload).type for each in found]


async def reopened(directory):
    """The types that a new process finds, with nothing torn."""
    log = SegmentedLog.open(Disk(directory), segment_bytes_max=SEGMENT_BYTES)
    assert log.report is None
    found = types(log)
    log.close()
    return found


@pytest.mark.parametrize("make_ring", [lambda: None, ring_of_this_machine], ids=["thread", "ring"])
async def test_records_get_consecutive_offsets_and_are_there_after_a_restart(tmp_path, make_ring):
    async with written(tmp_path, make_ring()) as (log, hub, address):
        assert await address.ask(events(1, 2)) == 1
        assert await address.ask(events(3)) == 3
        large = [address.submit(events(4, size=PREPARED_BYTES_MAX)), address.submit(events(5))]
        assert [await reply.wait() for reply in large] == [4, 5]
        await wait_all_tasks_blocked()
        assert hub.ring.last_offset == 5
        assert types(log) == ["t1", "t2", "t3", "t4", "t5"]
    assert await reopened(tmp_path) == ["t1", "t2", "t3", "t4", "t5"]


async def test_what_waits_is_written_while_the_write_before_it_is_answered(tmp_path):
    ring = Ring()
    ring.gate = True
    async with written(tmp_path, ring) as (_, hub, address):
        first = address.submit(events(1))
        await wait_all_tasks_blocked()
        second, third = address.submit(events(2)), address.submit(events(3))
        await wait_all_tasks_blocked()
        assert ring.submitted == 1
        seen = []
        first.call(lambda: seen.append((first.take(), ring.submitted)))
        ring.complete()
        await wait_all_tasks_blocked()
        # Both that waited are one write, and it was under way when the first was answered.
        assert (seen, ring.submitted, hub.ring.last_offset) == ([(1, 2)], 2, 1)
        ring.complete()
        assert (await second.wait(), await third.wait()) == (2, 3)
    assert await reopened(tmp_path) == ["t1", "t2", "t3"]


@pytest.mark.parametrize("answer", [0.0, 0.5, errno.EINTR, errno.EAGAIN, errno.EINVAL, "not begun"])
async def test_a_write_that_is_not_done_in_the_ring_is_done_by_the_thread(tmp_path, answer):
    ring = Ring(1.0, answer)
    async with written(tmp_path, ring) as (log, _, address):
        assert await address.ask(events(1)) == 1
        assert await address.ask(events(2, 3)) == 2
        assert await address.ask(events(4)) == 4
        assert types(log) == ["t1", "t2", "t3", "t4"]
    # One that will never work is not asked again.
    assert ring.submitted == {errno.EINVAL: 2, "not begun": 1}.get(answer, 3)
    assert await reopened(tmp_path) == ["t1", "t2", "t3", "t4"]


async def test_a_disk_that_fails_in_the_ring_ends_the_log(tmp_path):
    with pytest.RaisesGroup(OutcomeUnknown, flatten_subgroups=True):
        async with written(tmp_path, Ring(1.0, errno.EIO)) as (_, _, address):
            assert await address.ask(events(1)) == 1
            with pytest.raises(ActorCrashed):
                await address.ask(events(2))
    assert await reopened(tmp_path) == ["t1"]


async def test_a_full_disk_refuses_the_write_and_the_log_goes_on(tmp_path, monkeypatch):
    ring = Ring(1.0, errno.ENOSPC)
    async with written(tmp_path, ring) as (log, _, address):
        assert await address.ask(events(1)) == 1
        write_durable = log._file.write_durable

        def full(data, at):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(log._file, "write_durable", full)
        with pytest.raises(PersistenceFailed, match="No space left"):
            await address.ask(events(2))
        monkeypatch.setattr(log._file, "write_durable", write_durable)
        assert await address.ask(events(3)) == 2
    assert await reopened(tmp_path) == ["t1", "t3"]


async def test_a_writer_that_is_cancelled_leaves_its_write_to_the_kernel(tmp_path):
    ring = ring_of_this_machine()
    with trio.move_on_after(5) as scope:
        async with written(tmp_path, ring) as (_, _, address):
            address.submit(events(1, size=400_000))
            scope.cancel()
    assert await reopened(tmp_path) in ([], ["t1"])
