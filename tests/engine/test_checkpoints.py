"""When there is a checkpoint."""

import trio

from kissvdb.engine import checkpoints
from kissvdb.engine.checkpoints import Checkpoints


class Log:
    """As much of one as checkpoints look at."""

    last_offset = 0

    async def truncate(self, through):
        pass


class Model:
    """One target, whose save takes as long as it is told."""

    durable_offset = None
    name, save_is_due, gone = "it", True, False

    def __init__(self, save):
        self.save = save

    def targets(self):
        return [self]


async def test_what_is_written_during_a_checkpoint_counts_for_the_next(autojump_clock):
    log, saved_at = Log(), []

    async def save():
        saved_at.append(trio.current_time() - began)
        await trio.sleep(2)
        if len(saved_at) == 1:
            log.last_offset += checkpoints.RECORDS_MAX

    began = trio.current_time()
    async with trio.open_nursery() as tasks:
        tasks.start_soon(Checkpoints([Model(save)], log, [], interval_secs=1000).keep)
        await trio.sleep(10)
        assert saved_at == []
        log.last_offset += checkpoints.RECORDS_MAX
        # The first takes 2 seconds, and the rest after it four times as long.
        await trio.sleep(2 + checkpoints.REST_SHARE * 2 + 1)
        assert len(saved_at) == 2
        await trio.sleep(100)
        assert len(saved_at) == 2
        tasks.cancel_scope.cancel()
