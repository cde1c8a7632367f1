"""Asking and telling: order, batches, room, and askers who leave."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Envelope, MailboxFull, open_supervisor
from actors.testing import Gate, ScriptedActor, running


class Small(ScriptedActor):
    mailbox_size = 2
    batch_max = 2


def echo(message: object) -> object:
    return message


async def test_an_ask_returns_the_answer() -> None:
    async with running(ScriptedActor("pong")) as address:
        assert await address.ask("ping") == "pong"


async def test_a_refusal_is_raised_in_the_asker_and_leaves_the_actor_alive() -> None:
    async with running(ScriptedActor(KeyError("no"), "yes")) as address:
        with pytest.raises(KeyError, match="no"):
            await address.ask(1)
        assert await address.ask(2) == "yes"


async def test_a_tell_is_handled_and_needs_no_answer() -> None:
    class Counter(Actor):
        count = 0

        async def handle(self, batch: list[Envelope]) -> None:
            for envelope in batch:
                self.count += 1
                assert envelope.answered == (envelope.message == "told")
                envelope.answer(self.count)

    async with running(Counter()) as address:
        await address.tell("told")
        assert await address.ask("asked") == 2


async def test_refusing_a_told_message_harms_nobody() -> None:
    async with running(ScriptedActor(ValueError("bad"), "alive")) as address:
        await address.tell(1)
        assert await address.ask(2) == "alive"


async def test_messages_are_handled_in_the_order_in_which_they_were_sent() -> None:
    actor = ScriptedActor(otherwise=echo)
    async with running(actor) as address:
        replies = []
        for n in range(0, 600, 3):
            address.tell_nowait(n)
            replies.append(address.submit(n + 1))
            await address.tell(n + 2)
        assert [await reply.wait() for reply in replies] == list(range(1, 600, 3))
    assert actor.messages == list(range(600))


async def test_what_waits_while_a_batch_is_handled_becomes_one_batch() -> None:
    gate = Gate()
    actor = ScriptedActor(otherwise=echo, gate=gate)
    async with running(actor) as address:
        address.tell_nowait(0)
        await gate.wait_held()
        for n in range(1, 6):
            address.tell_nowait(n)
        gate.open()
        assert await address.ask(6) == 6
    assert actor.batches == [[0], [1, 2, 3, 4, 5, 6]]


async def test_a_batch_is_never_larger_than_batch_max() -> None:
    class Pairs(ScriptedActor):
        batch_max = 2

    actor = Pairs(otherwise=echo)
    async with running(actor) as address:
        replies = [address.submit(n) for n in range(5)]
        assert [await reply.wait() for reply in replies] == [0, 1, 2, 3, 4]
    assert actor.batches == [[0, 1], [2, 3], [4]]


async def test_a_full_mailbox_is_reported_to_those_who_do_not_wait() -> None:
    gate = Gate()
    async with running(Small(otherwise=echo, gate=gate)) as address:
        address.tell_nowait(0)
        await gate.wait_held()
        address.tell_nowait(1)
        reply = address.submit(2)
        with pytest.raises(MailboxFull) as full:
            address.submit(3)
        assert (full.value.name, full.value.size) == ("ScriptedActor", 2)
        with pytest.raises(MailboxFull):
            address.tell_nowait(3)
        gate.open()
        assert await reply.wait() == 2


async def test_senders_wait_for_room_first_come_first_served() -> None:
    gate = Gate()
    actor = Small(otherwise=echo, gate=gate)
    async with running(actor) as address, trio.open_nursery() as senders:
        for n in range(12):
            senders.start_soon(address.ask if n % 2 else address.tell, n)
            await wait_all_tasks_blocked()
        assert address.statistics().waiting_senders == 9
        with pytest.raises(MailboxFull):
            address.tell_nowait("may not overtake")
        gate.open()
    assert actor.messages == list(range(12))


async def test_an_asker_who_leaves_the_line_takes_the_message_along() -> None:
    gate = Gate()
    actor = Small(otherwise=echo, gate=gate)
    async with running(actor) as address, trio.open_nursery() as senders:
        for n in range(3):
            senders.start_soon(address.ask, n)
            await wait_all_tasks_blocked()
        for send in (address.ask, address.tell):
            with trio.CancelScope() as scope:
                senders.start_soon(cancel_when_blocked, scope)
                await send("withdrawn")
            assert scope.cancelled_caught
        assert address.statistics().waiting_senders == 0
        gate.open()
    assert actor.messages == [0, 1, 2]


async def test_an_asker_who_leaves_abandons_the_answer_but_not_the_work() -> None:
    gate = Gate()
    actor = ScriptedActor(otherwise=echo, gate=gate)
    async with running(actor) as address, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await address.ask("abandoned")
        gate.open()
        assert await address.ask("next") == "next"
    assert scope.cancelled_caught
    assert actor.messages == ["abandoned", "next"]


async def test_a_cancelled_asker_sends_nothing() -> None:
    actor = ScriptedActor(otherwise=echo)
    async with running(actor) as address:
        with trio.CancelScope() as scope:
            scope.cancel()
            await address.ask("ask")
        with trio.CancelScope() as scope:
            scope.cancel()
            await address.tell("tell")
    assert actor.messages == []


async def test_the_actor_sees_that_an_asker_left() -> None:
    seen = []
    gate = Gate()

    class Reader(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            await gate.pass_()
            seen.extend((e.message, e.abandoned, e.answered) for e in batch)
            for envelope in batch:
                envelope.answer()

    async with running(Reader()) as address, trio.open_nursery() as nursery:
        address.tell_nowait("told")
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await address.ask("left")
        gate.open()
        await address.ask("stays")
    assert seen == [("told", False, True), ("left", True, False), ("stays", False, False)]


async def test_answers_may_be_put_off_to_a_later_batch() -> None:
    class Barrier(Actor):
        def __init__(self) -> None:
            self.waiting: list[Envelope] = []

        async def handle(self, batch: list[Envelope]) -> None:
            self.waiting.extend(batch)
            if len(self.waiting) == 3:
                for place, envelope in enumerate(self.waiting):
                    envelope.answer(place)

    async with running(Barrier()) as address:
        first, second = address.submit("a"), address.submit("b")
        await wait_all_tasks_blocked()
        assert address.statistics().owed == 2
        assert await address.ask("c") == 2
        assert [await first.wait(), await second.wait()] == [0, 1]
        assert address.statistics().owed == 0


async def test_an_asker_who_leaves_is_no_longer_owed_an_answer() -> None:
    kept: list[Envelope] = []

    class Hoarder(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            kept.extend(batch)

    async with running(Hoarder()) as address, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await address.ask("left")
        assert address.statistics().owed == 0
        assert kept[0].abandoned
        kept[0].answer("in vain")


async def test_an_actor_that_asks_itself_is_caught_instead_of_hanging() -> None:
    class Selfish(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            await batch[0].message.ask("me")

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="waits for itself")):
        async with running(Selfish()) as address:
            await address.ask(address)


async def test_an_actor_may_tell_itself_while_there_is_room() -> None:
    class Countdown(Actor):
        async def handle(self, batch: list[Envelope]) -> None:
            for envelope in batch:
                address, n = envelope.message
                if n:
                    await address.tell((address, n - 1))
                else:
                    done.set()

    done = trio.Event()
    async with running(Countdown()) as address:
        await address.tell((address, 3))
        await done.wait()
        assert address.statistics().handled == 4


async def test_statistics_count_what_was_handled_and_what_waits() -> None:
    gate = Gate()
    async with running(Small(otherwise=echo, gate=gate)) as address:
        async with trio.open_nursery() as senders:
            for n in range(5):
                senders.start_soon(address.ask, n)
                await wait_all_tasks_blocked()
            waiting = address.statistics()
            gate.open()
        done = address.statistics()
    assert (waiting.size, waiting.depth, waiting.waiting_senders) == (2, 2, 2)
    assert (waiting.handled, waiting.batches) == (0, 0)
    assert (done.depth, done.waiting_senders, done.handled, done.batches) == (0, 0, 5, 3)
    assert (done.batch_largest, done.depth_largest, done.crashes) == (2, 2, 0)


async def test_an_actor_is_named_after_its_class_or_as_it_says() -> None:
    async with open_supervisor() as supervisor:
        assert (await supervisor.start(Small())).name == "ScriptedActor"

        class Plain(Actor):
            async def handle(self, batch: list[Envelope]) -> None:
                raise AssertionError("gets no mail")

        address = await supervisor.start(Plain())
        assert address.name == "Plain"
        assert repr(address) == "<Address of Plain>"


async def test_a_busy_actor_lets_other_tasks_run_between_batches() -> None:
    class Busy(Actor):
        batch_max = 1

        async def handle(self, batch: list[Envelope]) -> None:
            order.append(batch[0].message)

    async def bystander() -> None:
        for _ in range(3):
            order.append("bystander")
            await trio.lowlevel.checkpoint()

    order: list[object] = []
    async with running(Busy()) as address, trio.open_nursery() as nursery:
        for n in range(50):
            address.tell_nowait(n)
        nursery.start_soon(bystander)
    assert order.index(10) > max(n for n, who in enumerate(order) if who == "bystander")


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()
