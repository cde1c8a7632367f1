"""What escapes handle: who is refused, who is restarted, what leaves the block."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    Envelope,
    MailboxClosed,
    Reply,
    Restart,
    RestartPolicy,
    open_supervisor,
)
from actors.testing import Crash, Gate, ScriptedActor, running


class Boom(Exception):
    pass


class Fragile(Actor):
    """Answers with how many it has handled; crashes on "boom"; keeps "later" for later."""

    def __init__(self) -> None:
        self.handled = 0

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            if envelope.message == "boom":
                raise Boom
            if envelope.message != "later":
                self.handled += 1
                envelope.answer(self.handled)


async def crash_of(reply: Reply) -> tuple[bool, BaseException | None]:
    with pytest.raises(ActorCrashed) as crashed:
        await reply.wait()
    return crashed.value.delivered, crashed.value.__cause__


async def test_a_crash_leaves_the_block_and_refuses_all_who_wait() -> None:
    class Narrow(ScriptedActor):
        mailbox_size = 2
        batch_max = 1

    gate = Gate()
    actor = Narrow(Crash(Boom()), gate=gate)
    crashes = []

    async def ask(address) -> None:
        try:
            await address.ask("waits for room")
        except ActorCrashed as crashed:
            crashes.append(crashed)

    with pytest.RaisesGroup(Boom) as group:
        async with running(actor) as address:
            replies = [address.submit("in hand")]
            await gate.wait_held()
            replies += [address.submit("queued"), address.submit("queued")]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, address)
                await wait_all_tasks_blocked()
                gate.open()
    boom = group.value.exceptions[0]
    assert [await crash_of(reply) for reply in replies] == [
        (True, boom),
        (False, boom),
        (False, boom),
    ]
    assert [(c.delivered, c.__cause__) for c in crashes] == [(False, boom)]
    assert actor.calls == ["open", "handle", "close"]
    with pytest.raises(MailboxClosed):
        address.tell_nowait(1)


async def test_what_was_answered_before_the_crash_stays_answered() -> None:
    with pytest.RaisesGroup(Boom):
        async with running(Fragile()) as address:
            replies = [address.submit(message) for message in ("a", "later", "boom", "b")]
            await trio.sleep_forever()
    assert await replies[0].wait() == 1
    assert [(await crash_of(reply))[0] for reply in replies[1:]] == [True, True, True]


async def test_a_crash_refuses_answers_put_off_earlier() -> None:
    with pytest.RaisesGroup(Boom):
        async with running(Fragile()) as address:
            later = address.submit("later")
            await address.ask("a")
            address.tell_nowait("boom")
            await trio.sleep_forever()
    assert (await crash_of(later))[0] is True


async def test_a_crash_cancels_the_block_and_every_other_actor() -> None:
    class Stuck(ScriptedActor):
        async def handle(self, batch: list[Envelope]) -> None:
            await trio.sleep_forever()

    stuck = Stuck()
    with pytest.RaisesGroup(Boom):
        async with open_supervisor() as supervisor:
            other = await supervisor.start(stuck)
            fragile = await supervisor.start(Fragile())
            waiting = other.submit("never answered")
            await wait_all_tasks_blocked()
            queued = other.submit("never delivered")
            fragile.tell_nowait("boom")
            await trio.sleep_forever()
    for reply, delivered in ((waiting, True), (queued, False)):
        with pytest.raises(MailboxClosed) as closed:
            await reply.wait()
        assert closed.value.delivered is delivered
    assert stuck.calls == ["open", "close"]


async def test_an_asker_in_the_block_does_not_hide_the_crash() -> None:
    with pytest.RaisesGroup(Boom):
        async with running(Fragile()) as address:
            await address.ask("boom")
    with pytest.RaisesGroup(Boom):
        async with running(Fragile()) as address, trio.open_nursery() as nursery:
            nursery.start_soon(address.ask, "boom")
            nursery.start_soon(address.ask, "boom")


async def test_an_error_of_the_block_is_raised_beside_the_crash() -> None:
    with pytest.RaisesGroup(Boom, LookupError):
        async with running(Fragile()) as address:
            try:
                await address.ask("boom")
            except ActorCrashed:
                raise LookupError("mine") from None


async def test_a_restarted_actor_is_fresh_behind_the_same_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(Fragile, restart=Restart.ON_CRASH) as address:
        assert [await address.ask(n) for n in range(3)] == [1, 2, 3]
        with pytest.raises(ActorCrashed, match="Fragile crashed") as crashed:
            await address.ask("boom")
        assert isinstance(crashed.value.__cause__, Boom)
        assert await address.ask("again") == 1
        assert address.statistics().crashes == 1
    assert "Fragile crashed and is restarted" in caplog.text


async def test_senders_who_wait_for_room_survive_a_restart() -> None:
    class Tiny(ScriptedActor):
        mailbox_size = 1

    gate, answers = Gate(), []
    scripts = iter([Tiny(Crash(Boom()), gate=gate), Tiny("fresh", "fresh")])

    async def ask(n: int) -> None:
        try:
            answers.append((n, await address.ask(n)))
        except ActorCrashed as crashed:
            answers.append((n, crashed.delivered))

    async with (
        running(lambda: next(scripts), restart=Restart.ON_CRASH) as address,
        trio.open_nursery() as nursery,
    ):
        for n in range(4):
            nursery.start_soon(ask, n)
            await wait_all_tasks_blocked()
        gate.open()
    assert sorted(answers) == [(0, True), (1, False), (2, "fresh"), (3, "fresh")]


async def test_a_crash_beyond_the_intensity_leaves_the_block(autojump_clock: MockClock) -> None:
    policy = RestartPolicy(restarts_max=2, within_seconds=10)
    crashes = 0
    with pytest.RaisesGroup(Boom):
        async with running(Fragile, restart=policy) as address:
            for pause_seconds in (0, 9, 2, 1, 0):
                await trio.sleep(pause_seconds)
                with pytest.raises(ActorCrashed):
                    await address.ask("boom")
                crashes += 1
    # At 0, 9, 11 and 12 s: the one at 12 s is the third restart within 10 s.
    assert crashes == 4


async def test_three_crashes_in_a_minute_are_forgiven_by_default(
    autojump_clock: MockClock,
) -> None:
    crashes = 0
    with pytest.RaisesGroup(Boom):
        async with running(Fragile, restart=Restart.ON_CRASH) as address:
            while True:
                with pytest.raises(ActorCrashed):
                    await address.ask("boom")
                crashes += 1
    assert crashes == 4


async def test_an_actor_that_does_not_open_again_counts_as_crashing_again() -> None:
    opened = 0

    class OpensOnce(Fragile):
        async def open(self) -> None:
            nonlocal opened
            opened += 1
            if opened > 1:
                raise OSError("gone")

    with pytest.RaisesGroup(OSError):
        async with running(OpensOnce, restart=Restart.ON_CRASH) as address:
            with pytest.raises(ActorCrashed):
                await address.ask("boom")
            with pytest.raises(ActorCrashed) as crashed:
                await address.ask("waits for the restart")
            assert isinstance(crashed.value.__cause__, OSError)
            await trio.sleep_forever()
    assert opened == 4


async def test_an_actor_opens_again_after_a_failed_attempt() -> None:
    attempts = 0

    class Flaky(Fragile):
        async def open(self) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 2:
                raise OSError("not yet")

    async with running(Flaky, restart=Restart.ON_CRASH) as address:
        with pytest.raises(ActorCrashed):
            await address.ask("boom")
        await wait_all_tasks_blocked()
        assert await address.ask("a") == 1
    assert attempts == 3


async def test_a_close_that_fails_leaves_the_block_when_nothing_else_did() -> None:
    class BadClose(ScriptedActor):
        async def close(self) -> None:
            raise OSError("disk full")

    last = ScriptedActor("drained")
    with pytest.RaisesGroup(OSError):
        async with open_supervisor() as supervisor:
            reply = (await supervisor.start(last)).submit(1)
            await supervisor.start(BadClose())
    assert await reply.wait() == "drained"


async def test_a_close_that_fails_after_a_crash_is_logged_and_the_crash_wins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BadClose(Fragile):
        async def close(self) -> None:
            raise OSError("disk full")

    with pytest.RaisesGroup(Boom):
        async with running(BadClose()) as address:
            await address.ask("boom")
    assert "failed to close" in caplog.text
    assert "disk full" in caplog.text


async def test_a_crash_during_the_stop_spares_the_mail_of_the_others(
    autojump_clock: MockClock,
) -> None:
    class Slow(ScriptedActor):
        async def handle(self, batch: list[Envelope]) -> None:
            await trio.sleep(1)
            await super().handle(batch)

    first = Slow(1, 2, 3)
    with pytest.RaisesGroup(Boom):
        async with open_supervisor() as supervisor:
            address = await supervisor.start(first)
            replies = [address.submit(n) for n in range(3)]
            # No checkpoint after this: the block ends before the crash.
            (await supervisor.start(Fragile())).tell_nowait("boom")
    assert [await reply.wait() for reply in replies] == [1, 2, 3]
    assert first.calls[-1] == "close"


async def test_an_actor_crashing_while_it_drains_is_not_restarted() -> None:
    made = 0

    def make() -> Fragile:
        nonlocal made
        made += 1
        return Fragile()

    with pytest.RaisesGroup(Boom):
        async with running(make, restart=Restart.ON_CRASH) as address:
            reply = address.submit("boom")
    assert made == 1
    assert (await crash_of(reply))[0] is True


async def test_answering_twice_is_a_crash() -> None:
    class Stutterer(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            batch[0].answer(1)
            batch[0].answer(2)

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="answered twice")):
        async with running(Stutterer()) as address:
            assert await address.ask(1) == 1
            await trio.sleep_forever()


async def test_an_actor_cancelled_with_a_nursery_open_did_not_crash(
    autojump_clock: MockClock,
) -> None:
    class Fanning(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)

    async with running(Fanning()) as address:
        reply = address.submit(1)
        await wait_all_tasks_blocked()
    with pytest.raises(MailboxClosed):
        await reply.wait()
    assert address.statistics().crashes == 0
