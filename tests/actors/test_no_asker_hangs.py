"""Random actors, crashes, stops and impatient askers: every ask ends, in every schedule."""

import math
import random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors import (
    Actor,
    ActorCrashed,
    Address,
    Envelope,
    MailboxClosed,
    MailboxFull,
    Restart,
    RestartPolicy,
    Supervisor,
    open_supervisor,
)


class Boom(Exception):
    pass


class No(Exception):
    pass


class Moody(Actor):
    """Does with each message what the dice say; may pass it on to the next actor."""

    mailbox_size = 3
    batch_max = 2

    def __init__(self, dice: random.Random, crash_chance: float, next_one: Address | None) -> None:
        self.dice = dice
        self.crash_chance = crash_chance
        self.next_one = next_one
        self.kept: list[Envelope] = []

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            if self.dice.random() < self.crash_chance:
                raise Boom
            await self.deal_with(envelope)

    async def deal_with(self, envelope: Envelope) -> None:
        mood = self.dice.randrange(6)
        if mood == 0:
            envelope.refuse(No())
        elif mood == 1:
            self.kept.append(envelope)
        elif mood == 2 and self.kept:
            self.kept.pop().answer("late")
            envelope.answer("soon")
        elif mood == 3 and self.next_one is not None:
            try:
                envelope.answer(await self.next_one.ask(envelope.message))
            except (No, ActorCrashed, MailboxClosed) as error:
                envelope.refuse(No(str(error)))
        elif mood == 4:
            await trio.sleep(self.dice.random() * 3)
            envelope.answer("slept")
        else:
            envelope.answer("at once")

    async def close(self) -> None:
        await trio.sleep(self.dice.random() * 3)
        while self.kept and self.dice.random() < 0.5:
            self.kept.pop().answer("at the end")


class Life:
    """One run: up to three actors in a row, up to nine askers, and an end at a random time."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.crash_chance = dice.choice([0, 0.01, 0.1])
        self.addresses: list[Address] = []
        self.asks = 0

    async def run(self) -> None:
        # Actors live for 10 s and then have 4 s each to drain and close. An asker that is never
        # answered would sit there at 100 s; the clock jumps, so that is soon.
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                await nursery.start(self.run_actors)
                for _ in range(self.dice.randrange(1, 10)):
                    nursery.start_soon(self.ask_often)

    async def run_actors(self, task_status: trio.TaskStatus[None]) -> None:
        dice = self.dice
        try:
            with trio.move_on_after(dice.choice([0.5, 5, 10])):
                async with open_supervisor(drain_seconds=2) as supervisor:
                    for _ in range(dice.randrange(1, 4)):
                        await self.start_one(supervisor)
                    task_status.started()
                    await trio.sleep(dice.random() * 10)
        except* Boom:
            assert self.crash_chance > 0

    async def start_one(self, supervisor: Supervisor) -> None:
        next_one = self.addresses[-1] if self.addresses else None
        policy = self.dice.choice([Restart.NEVER, Restart.ON_CRASH, RestartPolicy(1000, 1)])
        address = await supervisor.start(
            lambda: Moody(self.dice, self.crash_chance, next_one), restart=policy
        )
        self.addresses.append(address)

    async def ask_often(self) -> None:
        for _ in range(self.dice.randrange(1, 12)):
            self.asks += 1
            with trio.move_on_after(self.dice.choice([0, 0.5, 5, math.inf])):
                await self.ask(self.dice.choice(self.addresses))
            await trio.sleep(self.dice.random())

    async def ask(self, address: Address) -> None:
        try:
            match self.dice.randrange(3):
                case 0:
                    await address.ask(1)
                case 1:
                    await address.submit(1).wait()
                case 2:
                    await address.tell(1)
        except (No, ActorCrashed, MailboxClosed, MailboxFull):
            return


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_no_asker_is_left_hanging(seed: int) -> None:
    life = Life(random.Random(seed))
    trio.run(life.run, clock=MockClock(autojump_threshold=0))
    assert life.asks > 0
    for address in life.addresses:
        left = address.statistics()
        assert (left.depth, left.waiting_senders, left.owed) == (0, 0, 0)
