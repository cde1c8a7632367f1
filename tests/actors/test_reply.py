"""The one-shot answer on its own."""

import gc
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Reply


async def test_a_reply_that_was_set_is_returned_without_a_checkpoint() -> None:
    reply = Reply()
    reply.set(7)
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await reply.wait() == 7
    assert not scope.cancelled_caught


async def test_a_waiter_is_woken_with_the_value_or_the_error() -> None:
    for settle, expected in ((lambda r: r.set(1), 1), (lambda r: r.fail(OSError("x")), "x")):
        reply, got = Reply(), []

        async def wait(reply: Reply = reply, got: list[object] = got) -> None:
            try:
                got.append(await reply.wait())
            except OSError as error:
                got.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            settle(reply)
        assert got == [expected]


def test_answering_twice_is_a_bug() -> None:
    for first in (lambda r: r.set(1), lambda r: r.fail(ValueError())):
        for second in (lambda r: r.set(1), lambda r: r.fail(ValueError())):
            reply = Reply()
            first(reply)
            with pytest.raises(AssertionError, match="answered twice"):
                second(reply)


async def test_answers_after_a_revocation_are_dropped() -> None:
    reply = Reply()
    assert not reply.answered
    reply.revoke(OSError("stopped"))
    assert reply.answered
    reply.set("too late")
    with pytest.raises(OSError, match="stopped"):
        await reply.wait()


async def test_a_revocation_leaves_an_answer_as_it_is() -> None:
    reply = Reply()
    reply.set("in time")
    reply.revoke(OSError("stopped"))
    assert await reply.wait() == "in time"


async def test_a_waiter_who_left_is_marked_and_may_be_answered_in_vain() -> None:
    reply = Reply()
    with trio.move_on_after(0):
        await reply.wait()
    assert reply.abandoned
    assert not reply.answered
    reply.set("in vain")
    assert reply.answered
    with pytest.raises(AssertionError, match="once"):
        await reply.wait()


async def test_two_waiters_are_a_bug() -> None:
    reply = Reply()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reply.wait)
        await wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="one waiter"):
            await reply.wait()
        reply.set()


def test_a_callback_takes_the_value_or_the_error_when_it_comes_or_is_there() -> None:
    for settle, expected in ((lambda r: r.set(1), 1), (lambda r: r.fail(OSError("x")), "x")):
        for early in (True, False):
            reply, got = Reply(), []

            def take(reply: Reply = reply, got: list[object] = got) -> None:
                try:
                    got.append(reply.take())
                except OSError as error:
                    got.append(str(error))

            if early:
                settle(reply)
            reply.call(take)
            assert got == ([expected] if early else [])
            if not early:
                settle(reply)
            assert got == [expected]


async def test_a_caller_who_leaves_is_not_called_and_may_be_answered_in_vain() -> None:
    reply = Reply()
    reply.call(lambda: pytest.fail("called after it left"))
    with pytest.raises(AssertionError, match="one waiter"):
        await reply.wait()
    reply.abandon()
    assert reply.abandoned
    assert not reply.answered
    reply.set("in vain")
    assert reply.answered


def test_leaving_when_the_answer_is_there_changes_nothing() -> None:
    reply = Reply()
    reply.revoke(OSError("stopped"))
    reply.abandon()
    assert reply.answered
    with pytest.raises(OSError, match="stopped"):
        reply.take()


async def test_an_error_that_was_raised_keeps_nothing_alive() -> None:
    class Traced(Exception):
        pass

    gc.disable()
    try:
        reply = Reply()
        reply.fail(Traced())
        try:
            await reply.wait()
        except Traced as error:
            gone = weakref.ref(error)
        assert gone() is None
    finally:
        gc.enable()
