"""A wall clock that is set while the database runs."""

import logging

import pytest
import trio

from kissvdb.config import Config, Storage
from kissvdb.engine.clock import LOOK_SECONDS, SteadyClock, wall_clock_ms
from kissvdb.engine.opening import open_database
from tests.engine.sse import collect

IN_MEMORY = Config(storage=Storage(memory=True))
HOUR_MS = 3_600_000


class Machine:
    """A machine with a wall clock that somebody sets."""

    def __init__(self):
        self.wall_ms = 1_795_000_000_000
        self.up_ms = 5_000
        self.clock = SteadyClock(lambda: self.wall_ms, lambda: self.up_ms)

    def wait(self, ms):
        self.wall_ms += ms
        self.up_ms += ms


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_a_jump_ends_no_key_and_keeps_none(jump_ms):
    machine = Machine()
    async with open_database(IN_MEMORY, clock_ms=machine.clock) as db:
        await db.vectors.create("c", dim=1, metric="l2")
        await db.put("before", 1, ttl_ms=60_000)
        await db.vectors.upsert("c", "before", [1.0], ttl_ms=60_000)
        machine.wall_ms += jump_ms
        await db.put("after", 1, ttl_ms=60_000)
        machine.wait(59_999)
        assert {db.get("before") is None, db.get("after") is None} == {False}
        assert db.vectors.get("c", "before") is not None
        machine.wait(1)
        assert {db.get("before") is None, db.get("after") is None} == {True}
        assert db.vectors.get("c", "before") is None


async def test_events_carry_the_time_that_the_clock_was_set_to():
    machine = Machine()
    async with open_database(IN_MEMORY, clock_ms=machine.clock) as db:
        await db.put("k", 1)
        machine.wall_ms += HOUR_MS
        await db.put("k", 2)
        first, second = [frame[2]["ts_ms"] for frame in await collect(db, 2)]
        assert second == first + HOUR_MS


def test_a_jump_is_told_once_and_slow_drift_when_it_has_become_one():
    machine = Machine()
    assert machine.clock.jump_ms() == 0
    machine.wait(10_000)
    assert machine.clock.jump_ms() == 0
    machine.wall_ms += HOUR_MS
    assert machine.clock.jump_ms() == HOUR_MS
    assert machine.clock.jump_ms() == 0
    machine.wall_ms -= 999
    assert machine.clock.jump_ms() == 0
    machine.wall_ms -= 1
    assert machine.clock.jump_ms() == -1000


async def test_a_jump_is_in_the_log(caplog, autojump_clock):
    machine = Machine()
    caplog.set_level(logging.WARNING, "kissvdb.clock")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.clock.watch)
        await trio.sleep(3 * LOOK_SECONDS)
        assert not caplog.records
        machine.wall_ms -= HOUR_MS
        await trio.sleep(3 * LOOK_SECONDS)
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert "wall clock was set" in record.getMessage()
    assert "-3600" in str(record.__dict__)


def test_the_machines_own_clocks_agree_at_the_start():
    before = wall_clock_ms()
    clock = SteadyClock()
    assert before - 1 <= clock() <= wall_clock_ms() + 1
