"""The lane and Hypercorn with Quart give the same answers, or the lane refuses.

Two databases hear the same requests, one through each door. Answers must agree in status, in the
headers that matter and in body. Where Hypercorn reads more into a request than the lane does,
the lane must have refused it and closed; when that left the databases different, both begin anew.
"""

import re
import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random

import attrs
import hypercorn
import hypercorn.trio
import pytest
import trio
from hypercorn.config import Sockets
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.quart.app import create_app
from kissvdb.engine.opening import open_database
from kissvdb.metrics import Metrics
from tests.lane.hostile import closes, conversation
from tests.lane.peers import IN_MEMORY, PATIENCE_SECS, GatedApi, Peer, open_lane, request

SENTINEL = request("GET", "/v1/health", b"", "X-Request-Id: the-end", "Connection: close")
REFUSALS = {400, 413, 414, 431}
# Set by the server's own clock or name, or by how the body is framed.
FREE_HEADERS = {"date", "server", "connection", "transfer-encoding"}


class PlainConfig(hypercorn.Config):
    """Hypercorn on a free port, as the daemon runs it without the lane."""

    errorlog = None
    accesslog = None
    keep_alive_timeout = 75

    def create_sockets(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        return Sockets([], [self.listener], [])


@attrs.frozen
class Door:
    """One way into one database."""

    port: int
    api: GatedApi
    database: object

    async def converse(self, raw):
        """Every byte the server says to ``raw`` and the sentinel, and whether it then closed."""
        with trio.socket.socket() as sock:
            await sock.connect(("127.0.0.1", self.port))
            peer = Peer(sock)
            with trio.fail_after(PATIENCE_SECS), trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._cancel_when_quiet, scope)
                    # A server that refuses may close before it has all; it still says why.
                    with suppress(BrokenPipeError, ConnectionResetError):
                        await peer.send(raw if closes(raw) else raw + SENTINEL)
                    said = await peer.rest()
                    nursery.cancel_scope.cancel()
        return (peer.received, False) if scope.cancelled_caught else (said, True)

    async def _cancel_when_quiet(self, scope):
        """Once nobody in this process has anything to do, the server waits for more."""
        while True:
            await wait_all_tasks_blocked(0.01)
            if self.api.started == self.api.finished:
                scope.cancel()

    async def open_up(self):
        """Have the door behind the lane made, in a thread: while it is, all look quiet."""
        with trio.socket.socket() as sock, trio.fail_after(PATIENCE_SECS):
            await sock.connect(("127.0.0.1", self.port))
            peer = Peer(sock)
            await peer.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert (await peer.rest()).startswith(b"HTTP/1.1 200 ")

    async def state(self):
        page = await self.database.list("", limit=1000)
        return self.database.last_offset, page.items


@asynccontextmanager
async def open_doors():
    """The lane on one database, plain Hypercorn on another."""
    settings = PlainConfig()
    stop = trio.Event()
    async with (
        open_lane(api_class=GatedApi) as served,
        open_database(IN_MEMORY) as database,
        trio.open_nursery() as nursery,
    ):
        api = GatedApi(database, IN_MEMORY, Metrics())
        serve = partial(hypercorn.trio.serve, create_app(api), settings, mode="asgi")
        await nursery.start(partial(serve, shutdown_trigger=stop.wait))
        port = settings.listener.getsockname()[1]
        lane = Door(served.port, served.api, served.database)
        await lane.open_up()
        yield lane, Door(port, api, database)
        stop.set()


def parse(said):
    """The final answers in a transcript: (status, headers, body)."""
    answers = []
    transcript = said
    while said:
        assert said.startswith(b"HTTP/1.1 "), transcript
        head, _, said = said.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        if status == 101:
            # From here on it is HTTP/2, on both sides from the same code.
            return [*answers, (status, {}, b"")]
        body = b""
        # The answer to HEAD tells a length and has no body: the next answer follows at once.
        if said and not said.startswith(b"HTTP/1.1 "):
            if headers.get("transfer-encoding") == "chunked":
                body, said = unchunk(said)
            else:
                length = int(headers.get("content-length", 0))
                body, said = said[:length], said[length:]
        if status >= 200:
            answers.append((status, headers, body))
    return answers


def unchunk(said):
    body = b""
    while True:
        size, _, said = said.partition(b"\r\n")
        length = int(size, 16)
        body, said = body + said[:length], said[length + 2 :]
        if length == 0:
            return body, said


def comparable(answer):
    status, headers, body = answer
    kept = {name: value for name, value in headers.items() if name not in FREE_HEADERS}
    if re.fullmatch(r"[0-9a-f]{8}-[0-9]+", kept.get("x-request-id", "")):
        kept["x-request-id"] = "generated"
    epoch = kept.get("kissvdb-epoch", "")
    if re.fullmatch(r"[0-9a-f]{16}", epoch):
        # Two databases have two.
        kept["kissvdb-epoch"] = "an epoch"
        body = body.replace(epoch.encode(), b"an epoch")
    return status, kept, body


def is_refusal(answer):
    status, headers, body = answer
    told = not body or b'{"error":"' in body
    return status in REFUSALS and headers.get("connection") == "close" and told


def disagreement(lane, plain):
    """What the two say differently, or None. Each is (transcript, closed)."""
    mine, theirs = parse(lane[0]), parse(plain[0])
    for number, answer in enumerate(mine):
        if number < len(theirs) and comparable(answer) == comparable(theirs[number]):
            continue
        if is_refusal(answer) and number == len(mine) - 1 and lane[1]:
            return None
        return number, comparable(answer), [comparable(each) for each in theirs[number:]]
    if len(mine) != len(theirs) or lane[1] != plain[1]:
        return len(mine), lane[1], plain[1], theirs[len(mine) :]
    return None


async def run(seed, count):
    """Compare ``count`` conversations; returns how many the lane answered and how many it
    refused, to show that the comparison compared something."""
    random = Random(seed)
    answered = refused = 0
    left = count
    while left:
        async with open_doors() as (lane, plain):
            same = True
            while same and left:
                left -= 1
                raw = conversation(random)
                ours, theirs = await lane.converse(raw), await plain.converse(raw)
                found = disagreement(ours, theirs)
                assert found is None, f"seed {seed}, {left} left: {raw!r}\n{found}"
                answers = parse(ours[0])
                refused += any(is_refusal(answer) for answer in answers)
                answered += any(not is_refusal(answer) for answer in answers)
                same = await lane.state() == await plain.state()
    return answered, refused


async def test_500_conversations_agree_or_are_refused():
    answered, refused = await run(seed=1, count=500)
    assert answered > 300
    assert refused > 100


async def test_the_last_answer_of_the_other_door_is_not_cut_off_by_its_close():
    # What Hypercorn does not understand it answers in one task, and another one closes.
    lines = ["Transfer-Encoding: chunked"]
    raw = request("GET", "http://test/v1/health", b"", *lines) + b"1\n{\r\n0\r\n\r\n"
    async with open_doors() as (lane, _):
        for _ in range(30):
            said, closed = await lane.converse(raw)
            assert [status for status, _, _ in parse(said)] == [400]
            assert closed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
async def test_10000_conversations_agree_or_are_refused(seed):
    answered, refused = await run(seed, count=1000)
    assert answered > 600
    assert refused > 200
