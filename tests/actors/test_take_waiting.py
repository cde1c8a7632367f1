"""Taking what waits while a batch is in hand."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorCrashed, Envelope, open_supervisor
from actors.testing import running


class Pipe(Actor):
    """Answers a batch only when it has begun with the next; `gate` lets one batch through."""

    batch_max = 2

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.steps: list[tuple[str, list[int]]] = []

    async def handle(self, batch: list[Envelope]) -> None:
        while batch:
            done = batch
            self._note("begin", done)
            await self.gate.wait()
            self.gate = trio.Event()
            batch = self.take_waiting()
            self._note("answer", done)
            for envelope in done:
                if envelope.message < 0:
                    raise ValueError("bad")
                envelope.answer(envelope.message)

    def _note(self, what: str, batch: list[Envelope]) -> None:
        self.steps.append((what, [envelope.message for envelope in batch]))


async def test_the_next_batch_is_taken_before_the_last_is_answered() -> None:
    pipe = Pipe()
    async with running(pipe) as address:
        replies = [address.submit(number) for number in range(5)]
        for _ in range(3):
            await wait_all_tasks_blocked()
            pipe.gate.set()
        assert [await reply.wait() for reply in replies] == [0, 1, 2, 3, 4]
        statistics = address.statistics()
    assert pipe.steps == [
        ("begin", [0, 1]),
        ("answer", [0, 1]),
        ("begin", [2, 3]),
        ("answer", [2, 3]),
        ("begin", [4]),
        ("answer", [4]),
    ]
    assert (statistics.handled, statistics.batches, statistics.batch_largest) == (5, 3, 2)
    assert statistics.owed == 0


async def test_a_crash_refuses_what_was_taken_and_what_is_not_answered_yet() -> None:
    pipe = Pipe()
    replies = []
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="bad")):
        async with open_supervisor() as supervisor:
            address = await supervisor.start(pipe)
            replies = [address.submit(number) for number in (0, -1, 2, 3, 4)]
            await wait_all_tasks_blocked()
            pipe.gate.set()
            await trio.sleep_forever()
    assert await replies[0].wait() == 0
    for reply, delivered in zip(replies[1:], (True, True, True, False), strict=True):
        with pytest.raises(ActorCrashed) as crash:
            await reply.wait()
        assert crash.value.delivered == delivered


async def test_what_was_taken_and_not_answered_is_owed() -> None:
    class Forgetful(Actor):
        batch_max = 1

        async def handle(self, batch: list[Envelope]) -> None:
            taken = [*batch, *self.take_waiting()]
            taken[0].answer()

    async with running(Forgetful()) as address:
        first, second = address.submit(1), address.submit(2)
        await first.wait()
        assert address.statistics().owed == 1
        assert not second.settled


def test_an_actor_that_is_not_running_has_nothing_waiting() -> None:
    assert Pipe().take_waiting() == []
