"""Writes that are begun in the poller's turn and answered when their reply comes."""

from contextlib import asynccontextmanager

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Reply
from kissvdb.api.bound import Begun
from kissvdb.api.dispatch import Api
from kissvdb.api.frame.http import Pending
from kissvdb.config import Server
from kissvdb.errors import KissError
from tests.lane.peers import IN_MEMORY, PATIENCE_SECS, Gone, get, open_lane, put, request, until


class HoldingApi(Api):
    """Keeps the replies of writes that have happened, until `release`."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.held = []

    def begin(self, request, bound):
        outcome = super().begin(request, bound)
        if not isinstance(outcome, Begun):
            return outcome
        late, inner = Reply(), outcome.pending
        inner.reply.call(lambda: self.held.append((inner.reply, late)))
        return msgspec.structs.replace(outcome, pending=Pending(late, inner.finish))

    def release(self):
        for inner, late in self.held:
            try:
                late.set(inner.take())
            except KissError as refusal:
                late.fail(refusal)
        self.held.clear()


@pytest.fixture
async def lane():
    async with open_lane(api_class=HoldingApi) as served:
        yield served


@asynccontextmanager
async def connect(lane):
    """A client whose connection's task sleeps: its next request finds it so."""
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/health"))
        await peer.answer()
        await wait_all_tasks_blocked()
        yield peer


async def held(lane, count=1):
    await until(lambda: len(lane.api.held) == count)


async def test_what_comes_while_an_answer_is_on_its_way_is_answered_after_it(lane):
    async with connect(lane) as peer:
        await peer.send(put("a", 1))
        await held(lane)
        await peer.send(get("a") + get("missing"))
        await wait_all_tasks_blocked()
        assert peer.received == b""
        lane.api.release()
        assert (await peer.answer()).json()["revision"] == 1
        assert (await peer.answer()).json()["value"] == 1
        assert (await peer.answer()).status == 404


async def test_a_client_that_closes_its_sending_half_still_gets_its_answer(lane):
    async with connect(lane) as peer:
        await peer.send(put("a", 1))
        await held(lane)
        peer.half_close()
        await wait_all_tasks_blocked()
        lane.api.release()
        assert (await peer.answer()).json()["revision"] == 1
        assert await peer.rest() == b""


async def test_a_client_that_resets_loses_the_answer_and_nothing_else(lane):
    async with connect(lane) as peer, connect(lane) as other:
        await peer.send(put("a", 1))
        await other.send(put("b", 2))
        await held(lane, 2)
        peer.reset()
        await wait_all_tasks_blocked()
        lane.api.release()
        assert (await other.answer()).json()["revision"] == 1
        await other.send(get("a"))
        assert (await other.answer()).json()["value"] == 1
    await until(lambda: lane.lane.statistics().connections == 0)


async def test_an_answer_that_does_not_come_is_a_timeout_and_the_write_stays():
    config = attrs.evolve(IN_MEMORY, server=Server(request_timeout_secs=1))
    async with open_lane(config, api_class=HoldingApi, sweep_interval_secs=0.05) as lane:
        async with connect(lane) as peer:
            await peer.send(put("a", 1, "X-Request-Id: mine"))
            answer = await peer.answer()
            assert (answer.status, answer.error) == (408, "timeout")
            assert answer.headers["x-request-id"] == "mine"
            assert await peer.rest() == b""
        lane.api.release()
        assert lane.database.get("a").value == b"1"


async def test_a_shutdown_waits_for_the_answer_and_announces_the_end(lane):
    async with connect(lane) as peer:
        await peer.send(put("a", 1))
        await held(lane)
        lane.shutdown.set()
        await wait_all_tasks_blocked()
        lane.api.release()
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await peer.rest() == b""
    with trio.fail_after(PATIENCE_SECS):
        await lane.finished.wait()


async def test_a_shutdown_that_cannot_wait_closes_and_the_late_answer_hurts_nobody():
    async with open_lane(api_class=HoldingApi, shutdown_timeout_secs=0.1) as lane:
        async with connect(lane) as peer:
            await peer.send(put("a", 1))
            await held(lane)
            lane.shutdown.set()
            with pytest.raises(Gone):
                await peer.answer()
        with trio.fail_after(PATIENCE_SECS):
            await lane.finished.wait()
        lane.api.release()


async def test_a_refusal_is_told_like_any_other(lane):
    async with connect(lane) as peer:
        body = b'{"value":1,"if_revision":7}'
        await peer.send(request("PUT", "/v1/state/a", body))
        await held(lane)
        lane.api.release()
        refused = await peer.answer()
        assert (refused.status, refused.error) == (409, "revision_mismatch")
        assert refused.headers["x-request-id"]
        await peer.send(request("PUT", "/v1/state/a", b"{"))
        assert (await peer.answer()).status == 400
