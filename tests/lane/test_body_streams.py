"""Bodies read while they are answered: POST /v1/bulk over the lane."""

import json
import socket

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Http, Limits
from kissvdb.lane.head import Head
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.poller import Poller
from kissvdb.lane.reader import RequestReader
from kissvdb.lane.response import Clock
from kissvdb.lane.transport import Transport
from tests.lane.peers import IN_MEMORY, Gone, open_lane, request, until

NDJSON = "Content-Type: application/x-ndjson"
CHUNKED = "Transfer-Encoding: chunked"


def line(key, value):
    return json.dumps({"op": "put", "key": key, "value": value}).encode() + b"\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def bulk(*lines, body=b"", query=""):
    return request("POST", f"/v1/bulk{query}", b"", NDJSON, *lines) + body


def answers(text):
    return [json.loads(each) for each in text.splitlines()]


async def test_a_body_that_is_there_is_answered_whole_and_the_connection_stays(lane):
    body = line("a", 1) + line("b", 2)
    raw = bulk(f"Content-Length: {len(body)}", body=body)
    async with lane.connect() as peer:
        await peer.send(raw + raw)
        for _ in range(2):
            answer = await peer.answer()
            assert "content-length" in answer.headers
            assert [each["status"] for each in answers(answer.body)] == ["ok", "ok"]


async def test_operations_are_answered_while_the_body_goes_on(lane):
    async with lane.connect() as peer:
        await peer.send(bulk(CHUNKED))
        assert "HTTP/1.1 200 OK" in await peer.stream_head()
        for n in range(5):
            await peer.send(chunk(line(f"k{n}", n)))
            [answer] = answers(await peer.chunk())
            assert (answer["status"], answer["offset"]) == ("ok", n + 1)
        await peer.send(b"0\r\n\r\n")
        assert await peer.chunk() == b""
        assert await peer.rest() == b""
    assert lane.lane.statistics().handed_over == 0


async def test_the_whole_body_may_be_over_the_limit_of_a_body():
    config = attrs.evolve(IN_MEMORY, limits=Limits(body_bytes_max=1024))
    body = b"".join(line(f"k{n}", "x" * 500) for n in range(20))
    async with open_lane(config) as served, served.connect() as peer:
        await peer.send(bulk(f"Content-Length: {len(body)}", body=body))
        answer = await peer.answer()
        assert len(answers(answer.body)) == 20
        await until(lambda: served.lane.statistics().connections == 0)


async def test_continue_is_said_before_the_answer_begins(lane):
    body = line("a", 1)
    async with lane.connect() as peer:
        await peer.send(bulk(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert (await peer.answer()).status == 100
        await peer.send(body)
        assert answers((await peer.answer()).body)[0]["status"] == "ok"


async def test_a_refusal_comes_without_reading_the_body(lane):
    lines = ("Content-Length: 5000000", "Expect: 100-continue")
    answer, closed = await lane.say(bulk(*lines, query="?answers=none"))
    assert (answer.status, answer.error, closed) == (400, "invalid_argument", True)


@pytest.mark.parametrize("frame", [[CHUNKED], ["Content-Length: 100000"]])
async def test_a_body_that_breaks_off_is_answered_as_far_as_it_came_and_looks_cut(lane, frame):
    data = line("a", 1)
    async with lane.connect() as peer:
        await peer.send(bulk(*frame, body=chunk(data) if frame == [CHUNKED] else data))
        await peer.stream_head()
        assert answers(await peer.chunk())[0]["status"] == "ok"
        peer.half_close()
        with pytest.raises(Gone):
            await peer.chunk()
    assert lane.database.get("a").value == b"1"


async def test_a_broken_chunk_cuts_the_answer_off(lane):
    async with lane.connect() as peer:
        await peer.send(bulk(CHUNKED, body=chunk(line("a", 1))))
        await peer.stream_head()
        assert answers(await peer.chunk())[0]["status"] == "ok"
        await peer.send(b"nonsense\r\n" + chunk(line("b", 2)))
        assert "hexadecimal" in answers(await peer.chunk())[0]["error"]["message"]
        with pytest.raises(Gone):
            await peer.chunk()
    assert lane.database.get("b") is None


async def test_a_client_that_resets_in_the_middle_is_forgotten(lane):
    async with lane.connect() as peer:
        await peer.send(bulk(CHUNKED, body=chunk(line("a", 1))))
        await peer.stream_head()
        peer.reset()
        await until(lambda: lane.lane.statistics().connections == 0)


async def test_a_body_that_pauses_for_too_long_ends(mock_clock):
    config = attrs.evolve(IN_MEMORY, http=Http(idle_timeout_secs=3))
    async with open_lane(config) as served, served.connect() as peer:
        await peer.send(bulk(CHUNKED, body=chunk(line("a", 1))))
        await peer.stream_head()
        await peer.chunk()
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(5)
        with pytest.raises(Gone):
            await peer.chunk()


async def test_a_shutdown_ends_a_body_and_answers_what_has_arrived(lane):
    async with lane.connect() as peer:
        await peer.send(bulk(CHUNKED, body=chunk(line("a", 1))))
        await peer.stream_head()
        assert answers(await peer.chunk())[0]["status"] == "ok"
        lane.shutdown.set()
        with pytest.raises(Gone):
            await peer.chunk()
        await lane.finished.wait()


@pytest.mark.parametrize("polled", [True, False])
async def test_what_came_while_a_piece_was_worked_on_is_the_next_piece(nursery, polled):
    poller = Poller(turn_secs=0) if polled else None
    if poller is not None:
        nursery.start_soon(poller.run)
    ours, theirs = socket.socketpair()
    limits = LaneLimits.of(IN_MEMORY)
    limits = attrs.evolve(limits, receive_bytes_max=1000, piece_bytes_max=10_000)
    with theirs:
        ours.setblocking(False)
        transport = Transport(ours, limits, Clock(), poller)
        reader = RequestReader(transport, limits, lambda: None)
        head = Head("POST", "/v1/bulk", "", {}, True, True, content_length=25_500)
        body = reader.stream_body(head)
        theirs.sendall(b"x" * 500)
        assert await anext(body) == b"x" * 500
        theirs.sendall(b"y" * 25_000)
        await wait_all_tasks_blocked()
        sizes = [len(piece) async for piece in body]
        # A piece ends where it is large enough, or where nothing more is there.
        assert sizes == [10_000, 10_000, 5_000]
        assert body.complete
        transport.close()
    nursery.cancel_scope.cancel()
    if poller is not None:
        poller.close()
