"""A lane on a free port with the real database behind it, and raw clients to talk to it."""

import json
import socket
import struct
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from kissvdb.api.dispatch import Api
from kissvdb.api.quart.app import create_app
from kissvdb.config import Config, Storage
from kissvdb.engine.opening import open_database
from kissvdb.lane import LaneLimits, serve_lane
from kissvdb.metrics import Metrics
from tests.patience import PATIENCE_SECS

IN_MEMORY = Config(storage=Storage(memory=True))


@attrs.define
class Served:
    """A running lane. Setting ``shutdown`` stops it; ``finished`` is set when it has."""

    port: int
    lane: object
    api: object
    database: object
    limits: LaneLimits
    shutdown: trio.Event
    finished: trio.Event
    scope: trio.CancelScope

    def cancel(self):
        """End the server the hard way."""
        self.scope.cancel()

    @asynccontextmanager
    async def connect(self, *, receive_buffer_bytes=None):
        """A client; a small receive buffer makes one that is full soon."""
        with trio.socket.socket() as sock:
            if receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            await sock.connect(("127.0.0.1", self.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Peer(sock)

    async def say(self, raw, *, head_only=False):
        """Send ``raw`` on a connection of its own; the first answer, and whether the server
        closed after it."""
        async with self.connect() as peer:
            await peer.send(raw)
            answer = await peer.answer(head_only=head_only)
            return answer, await peer.rest() == b""


@attrs.frozen
class Answer:
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]


class Gone(Exception):
    """The server closed, or reset, where an answer was awaited."""


class Peer:
    """One end of a connection, byte by byte."""

    def __init__(self, sock):
        self.sock = sock
        self.received = b""

    async def send(self, data):
        with trio.fail_after(PATIENCE_SECS):
            while data:
                data = data[await self.sock.send(data) :]

    async def send_slowly(self, data, size=1):
        """In pieces the server reads one at a time."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await trio.testing.wait_all_tasks_blocked()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Leave with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def answer(self, *, head_only=False):
        """The next final answer; informational ones are kept in ``informed``."""
        head = await self._until(b"\r\n\r\n")
        status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, status = status_line.split(" ", 2)[:2]
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name not in headers, f"{name} is there twice"
            headers[name.lower()] = value
        if 100 <= int(status) < 200 or head_only or int(status) in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self._exactly(int(headers["content-length"]))
        else:
            body = await self.rest()
        return Answer(int(status), headers, body)

    async def stream_head(self):
        """The head of a streamed answer, without its body."""
        head = await self._until(b"\r\n\r\n")
        return head.decode("latin-1")

    async def chunk(self):
        """One chunk of a streamed body; b"" is the last."""
        size = int(await self._until(b"\r\n"), 16)
        data = await self._exactly(size)
        assert await self._exactly(2) == b"\r\n"
        return data

    async def sse(self, marker):
        """SSE text from the chunks, until ``marker`` has come."""
        text = b""
        while marker not in text:
            blob = await self.chunk()
            if not blob:
                raise Gone(text)
            text += blob
        return text

    async def rest(self):
        """All until the server closes."""
        while await self._more():
            pass
        data, self.received = self.received, b""
        return data

    async def _chunks(self):
        body = b""
        while data := await self.chunk():
            body += data
        return body

    async def _until(self, end):
        while end not in self.received:
            if not await self._more():
                raise Gone(self.received)
        at = self.received.index(end) + len(end)
        data, self.received = self.received[:at], self.received[at:]
        return data

    async def _exactly(self, count):
        while len(self.received) < count:
            if not await self._more():
                raise Gone(self.received)
        data, self.received = self.received[:count], self.received[count:]
        return data

    async def _more(self):
        with trio.fail_after(PATIENCE_SECS):
            try:
                data = await self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
        self.received += data
        return data


def request(method, target, body=b"", *lines):
    """A well-formed request; ``lines`` are further header lines."""
    head = [f"{method} {target} HTTP/1.1", "Host: test", *lines]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def chunked_request(method, target, body):
    """``body`` is chunked already."""
    lines = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode() + body


def put(key, value, *lines):
    return request("PUT", f"/v1/state/{key}", b'{"value":%s}' % json.dumps(value).encode(), *lines)


def get(key, *lines):
    return request("GET", f"/v1/state/{key}", b"", *lines)


class GatedApi(Api):
    """The real dispatcher, which waits at ``gate`` before each answer if there is one."""

    gate = None
    started = 0
    finished = 0

    def begin(self, request, bound):
        return None if self.gate is not None else super().begin(request, bound)

    async def dispatch(self, request, *, bound=None, timed=True):
        self.started += 1
        if self.gate is not None:
            await self.gate.wait()
        answer = await super().dispatch(request, bound=bound, timed=timed)
        self.finished += 1
        return answer


@asynccontextmanager
async def open_lane(config=IN_MEMORY, *, api_class=Api, **changes):
    """Serve; ``changes`` replace limits. The lane is shut down at the end of the block."""
    metrics = Metrics()
    limits = attrs.evolve(LaneLimits.of(config), **changes)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    shutdown, finished = trio.Event(), trio.Event()
    async with open_database(config, metrics=metrics) as database:
        api = api_class(database, config, metrics)
        serve = partial(
            serve_lane,
            api,
            partial(create_app, api),
            config,
            listeners=[listener],
            shutdown=shutdown,
            limits=limits,
        )
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            lane = await nursery.start(_serve_and_tell, serve, finished, scope)
            port = listener.getsockname()[1]
            yield Served(port, lane, api, database, limits, shutdown, finished, scope)
            shutdown.set()


async def _serve_and_tell(serve, finished, scope, task_status):
    try:
        with scope:
            await serve(task_status=task_status)
    finally:
        finished.set()


async def until(condition):
    """Return once ``condition()`` holds; it is looked at whenever the loop has turned."""
    with trio.fail_after(PATIENCE_SECS):
        while not condition():
            await trio.lowlevel.checkpoint()
