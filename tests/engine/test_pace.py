"""How long writes wait for an index that does not keep up."""

from types import SimpleNamespace

import pytest
import trio

from kissvdb.engine.rows.pace import WAIT_SECONDS, tail_rows_max
from kissvdb.engine.vectors.model import Vectors
from kissvdb.errors import Overloaded

DIM, TAIL_BYTES_MAX = 64, 256 * 1024
MOST = tail_rows_max(DIM, TAIL_BYTES_MAX)


def behind(tail):
    """A collection whose index is due, and does not get there."""
    rows = SimpleNamespace(
        spec=SimpleNamespace(dim=DIM, name="c"), counts=(0, tail), drain_end=lambda: tail
    )
    upkeep = SimpleNamespace(problem=None, gone=False)
    return SimpleNamespace(actor=SimpleNamespace(rows=rows), upkeep=upkeep)


def model(**opened):
    made = Vectors.__new__(Vectors)
    made._collections = SimpleNamespace(opened=opened)
    made._opened, made._tail_bytes_max = opened, TAIL_BYTES_MAX
    return made


async def test_a_batch_of_many_collections_waits_no_longer_than_one_of_one(autojump_clock):
    tails = {f"c{number}": behind(MOST + 1) for number in range(20)}
    before = trio.current_time()
    await model(**tails).keep_pace([*tails, "not there"])
    assert WAIT_SECONDS <= trio.current_time() - before < WAIT_SECONDS + 1
    tails["c19"] = behind(2 * MOST + 1)
    before = trio.current_time()
    with pytest.raises(Overloaded, match="tail_bytes_max"):
        await model(**tails).keep_pace(tails)
    assert trio.current_time() - before < WAIT_SECONDS + 1


async def test_nobody_waits_for_an_index_that_does_not_grow(autojump_clock):
    failed, dropped, not_due = behind(9 * MOST), behind(9 * MOST), behind(9 * MOST)
    failed.upkeep.problem, dropped.upkeep.gone = "the disk is full", True
    not_due.actor.rows.drain_end = lambda: 0
    before = trio.current_time()
    await model(a=failed, b=dropped, c=not_due, d=behind(MOST)).keep_pace("abcd")
    assert trio.current_time() == before
