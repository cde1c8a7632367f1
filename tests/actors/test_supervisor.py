"""Starting, stopping and draining: the order, the limits, and what askers get."""

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    Address,
    Envelope,
    MailboxClosed,
    Reply,
    Restart,
    open_supervisor,
)
from actors.testing import Gate, ScriptedActor, running


class Diary(ScriptedActor):
    """Writes into a diary shared by all, to show who did what first."""

    def __init__(self, diary: list[str], name: str, *steps: object) -> None:
        super().__init__(*steps, name=name)
        self.diary = diary

    async def open(self) -> None:
        self.diary.append(f"open {self.name}")

    async def handle(self, batch: list[Envelope]) -> None:
        await super().handle(batch)
        self.diary.append(f"handle {self.name}")

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self.diary.append(f"close {self.name}")


class Stuck(Actor):
    """Never finishes a batch, nor, if told so, its close."""

    def __init__(self, *, close_seconds: float = 0) -> None:
        self.close_seconds = close_seconds
        self.closed = False

    async def handle(self, batch: list[Envelope]) -> None:
        await trio.sleep_forever()

    async def close(self) -> None:
        await trio.sleep(self.close_seconds)
        self.closed = True


async def outcome(reply: Reply) -> object:
    try:
        return await reply.wait()
    except MailboxClosed as closed:
        return f"closed, delivered={closed.delivered}"


async def test_actors_stop_in_reverse_order_each_drained_before_the_next() -> None:
    diary: list[str] = []
    async with open_supervisor() as supervisor:
        addresses = [await supervisor.start(Diary(diary, name, 1)) for name in "abc"]
        replies = [address.submit("last words") for address in addresses]
        await supervisor.stop()
        assert [await reply.wait() for reply in replies] == [1, 1, 1]
    opened = ["open a", "open b", "open c"]
    assert diary[:3] == opened
    closes = [entry for entry in diary if entry.startswith("close")]
    assert closes == ["close c", "close b", "close a"]
    for name in "abc":
        assert diary.index(f"handle {name}") < diary.index(f"close {name}")


async def test_a_draining_actor_may_still_ask_those_that_started_before_it() -> None:
    class Front(Actor):
        def __init__(self, back: Address) -> None:
            self.back = back

        async def handle(self, batch: list[Envelope]) -> None:
            for envelope in batch:
                envelope.answer(await self.back.ask(envelope.message))

    async with open_supervisor() as supervisor:
        back = await supervisor.start(ScriptedActor(otherwise=lambda n: n * 2))
        front = await supervisor.start(Front(back))
        replies = [front.submit(n) for n in range(3)]
    assert [await reply.wait() for reply in replies] == [0, 2, 4]


async def test_start_returns_when_open_has_finished() -> None:
    gate = Gate()

    class Slow(ScriptedActor):
        async def open(self) -> None:
            await gate.pass_()
            await super().open()

    actor = Slow()
    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start, actor)
        await gate.wait_held()
        assert actor.calls == []
        gate.open()
        await wait_all_tasks_blocked()
        assert actor.calls == ["open"]


async def test_an_open_that_fails_is_raised_bare_and_harms_no_other_actor() -> None:
    class Broken(ScriptedActor):
        async def open(self) -> None:
            raise OSError("no such file")

    broken = Broken()
    async with open_supervisor() as supervisor:
        address = await supervisor.start(ScriptedActor("alive"))
        with pytest.raises(OSError, match="no such file"):
            await supervisor.start(broken)
        assert await address.ask(1) == "alive"
    assert broken.calls == []


async def test_a_start_that_is_cancelled_leaves_no_actor_behind() -> None:
    class Slow(ScriptedActor):
        async def open(self) -> None:
            await trio.sleep_forever()

    async with open_supervisor() as supervisor:
        with trio.move_on_after(0) as scope:
            await supervisor.start(Slow())
        assert scope.cancelled_caught


async def test_a_start_that_is_cancelled_as_open_returns_closes_the_actor() -> None:
    class Slow(ScriptedActor):
        async def open(self) -> None:
            scope.cancel()

    actor = Slow()
    async with open_supervisor() as supervisor:
        with trio.CancelScope() as scope:
            await supervisor.start(actor)
        assert scope.cancelled_caught
        assert actor.calls == ["close"]


async def test_after_a_stop_mail_and_starts_are_refused() -> None:
    async with open_supervisor() as supervisor:
        address = await supervisor.start(ScriptedActor())
        await supervisor.stop()
        await supervisor.stop()
        for send in (address.submit, address.tell_nowait):
            with pytest.raises(MailboxClosed):
                send(1)
        for wait in (address.ask, address.tell):
            with pytest.raises(MailboxClosed) as closed:
                await wait(1)
            assert not closed.value.delivered
        late = ScriptedActor()
        with pytest.raises(MailboxClosed):
            await supervisor.start(late)
        assert late.calls == ["open", "close"]


async def test_one_actor_can_be_stopped_alone() -> None:
    first, second = ScriptedActor("last"), ScriptedActor("alive")
    async with open_supervisor() as supervisor:
        one = await supervisor.start(first)
        other = await supervisor.start(second)
        reply = one.submit("drained")
        await supervisor.stop(one)
        await supervisor.stop(one)
        assert await reply.wait() == "last"
        assert first.calls == ["open", "handle", "close"]
        assert await other.ask(1) == "alive"


async def test_senders_in_line_are_turned_away_when_the_actor_stops() -> None:
    class Tiny(ScriptedActor):
        mailbox_size = 1

    gate, refused = Gate(), []
    actor = Tiny("a", "b", gate=gate)

    async def send(n: int) -> None:
        try:
            await (address.ask if n % 2 else address.tell)(n)
        except MailboxClosed as closed:
            refused.append((n, closed.delivered))

    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        address = await supervisor.start(actor)
        for n in range(4):
            nursery.start_soon(send, n)
            await wait_all_tasks_blocked()
        nursery.start_soon(supervisor.stop)
        await wait_all_tasks_blocked()
        gate.open()
    assert sorted(refused) == [(2, False), (3, False)]
    assert actor.messages == [0, 1]


async def test_answers_still_owed_are_refused_after_close(autojump_clock: MockClock) -> None:
    class Hoarder(Actor):
        def __init__(self) -> None:
            self.kept: list[Envelope] = []

        async def handle(self, batch: list[Envelope]) -> None:
            self.kept.extend(batch)

        async def close(self) -> None:
            self.kept[0].answer("at the last moment")

    actor = Hoarder()
    async with running(actor) as address:
        replies = [address.submit(n) for n in range(2)]
    assert await replies[0].wait() == "at the last moment"
    assert await outcome(replies[1]) == "closed, delivered=True"
    actor.kept[1].answer("after the end, in vain")


async def test_a_drain_that_takes_too_long_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    actor = Stuck()
    async with running(actor, drain_seconds=5) as address:
        in_hand = address.submit(1)
        await wait_all_tasks_blocked()
        queued = address.submit(2)
        began = trio.current_time()
    assert trio.current_time() - began == 5
    assert actor.closed
    assert await outcome(in_hand) == "closed, delivered=True"
    assert await outcome(queued) == "closed, delivered=False"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Stuck did not drain within 5 s" in caplog.text


async def test_a_close_that_takes_too_long_is_cancelled_too(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    actor = Stuck(close_seconds=100)
    began = trio.current_time()
    async with running(actor, drain_seconds=5) as address:
        address.tell_nowait(1)
        await wait_all_tasks_blocked()
    assert trio.current_time() - began == 10
    assert not actor.closed
    assert "Stuck did not close within 5 s" in caplog.text


async def test_askers_of_a_cancelled_actor_do_not_wait_for_its_close(
    autojump_clock: MockClock,
) -> None:
    async def ask() -> None:
        with pytest.raises(MailboxClosed):
            await address.ask(1)
        refused_at.append(trio.current_time() - began)

    refused_at: list[float] = []
    async with trio.open_nursery() as nursery, running(Stuck(close_seconds=3)) as address:
        began = trio.current_time()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
    assert refused_at == [5]
    assert trio.current_time() - began == 8


async def test_each_actor_has_its_own_time_to_drain(autojump_clock: MockClock) -> None:
    class Slow(ScriptedActor):
        async def handle(self, batch: list[Envelope]) -> None:
            await trio.sleep(4)
            await super().handle(batch)

    actors = [Slow(1) for _ in range(3)]
    async with open_supervisor(drain_seconds=5) as supervisor:
        await supervisor.start(ScriptedActor())
        replies = [(await supervisor.start(actor)).submit(1) for actor in actors]
    assert [await reply.wait() for reply in replies] == [1, 1, 1]


async def test_actors_drain_when_the_block_is_cancelled_from_outside(
    autojump_clock: MockClock,
) -> None:
    class Slow(ScriptedActor):
        async def handle(self, batch: list[Envelope]) -> None:
            await trio.sleep(1)
            await super().handle(batch)

    actor = Slow("done", "done")
    with trio.CancelScope() as scope:
        async with running(actor) as address:
            replies = [address.submit(1)]
            await wait_all_tasks_blocked()
            replies.append(address.submit(2))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [await reply.wait() for reply in replies] == ["done", "done"]
    assert actor.calls == ["open", "handle", "handle", "close"]


async def test_an_error_of_the_block_leaves_it_bare_after_the_drain() -> None:
    actor = ScriptedActor("drained")
    replies = []

    async def fail() -> None:
        async with running(actor) as address:
            replies.append(address.submit(1))
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fail()
    assert await replies[0].wait() == "drained"
    assert actor.calls == ["open", "handle", "close"]


async def test_a_policy_that_restarts_needs_a_factory() -> None:
    async with open_supervisor() as supervisor:
        with pytest.raises(TypeError, match="pass a factory"):
            await supervisor.start(ScriptedActor(), restart=Restart.ON_CRASH)


async def test_starting_an_actor_twice_is_a_bug() -> None:
    actor = ScriptedActor()
    async with open_supervisor() as supervisor:
        await supervisor.start(actor)
        with pytest.raises(AssertionError, match="started twice"):
            await supervisor.start(actor)


async def test_a_mailbox_needs_room_for_one_message() -> None:
    class Roomless(ScriptedActor):
        mailbox_size = 0

    async with open_supervisor() as supervisor:
        with pytest.raises(ValueError, match="at least one"):
            await supervisor.start(Roomless())


async def test_an_actor_that_stops_itself_is_caught_instead_of_hanging() -> None:
    class Restless(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            await supervisor.stop()

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="stops itself")):
        async with open_supervisor() as supervisor:
            (await supervisor.start(Restless())).tell_nowait(1)
            await trio.sleep_forever()


async def test_actors_may_start_actors() -> None:
    async with open_supervisor() as supervisor:

        class Parent(Actor):
            async def handle(self, batch: list[Envelope]) -> None:
                for envelope in batch:
                    envelope.answer(await supervisor.start(ScriptedActor("child")))

        parent = await supervisor.start(Parent())
        child = await parent.ask("one more")
        assert await child.ask(1) == "child"
