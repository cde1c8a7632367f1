"""Publish to a server at a given rate while many clients read its stream."""

import json
import select
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from bench.load import protocols
from bench.load.process import ROOT, Server

TICK_SECS = 0.002
READY_SECS_MAX = 60.0
FINISH_SECS_MAX = 5.0
SILENCE_SECS = 0.2


class ReaderFailed(Exception):
    """The reading process ended, or did not get ready, in time."""


class PublishFailed(Exception):
    """The server refused what was published."""


@attrs.frozen
class Feed:
    """How to publish to one server and how to read its stream.

    ``publish`` makes the bytes that publish some messages. ``ready`` are the bytes after which a
    client is sure to receive what is published next. With ``check_ids`` the ids of the stream are
    offsets without holes. ``opening`` and ``closing`` go before and after all that is published;
    an answer that holds ``finished`` says that all has been taken.
    """

    publish: Callable[[Sequence[bytes]], bytes]
    subscribe: bytes
    ready: str
    check_ids: bool = False
    opening: bytes = b""
    closing: bytes = b""
    finished: bytes = b""


def message(number: int, due_ns: int, pad: bytes) -> bytes:
    """One message as the readers expect it."""
    return b'{"n":%d,"t":%d,"pad":"%b"}' % (number, due_ns, pad)


def ours() -> Feed:
    """Our server: durable events, as lines of one bulk request that lasts for the whole run; the
    stream from the offset that the reader is started with."""
    opening = (
        "POST /v1/bulk?answers=errors HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked"
    )
    opening += f"\r\nContent-Type: {protocols.BULK}\r\n\r\n"

    def publish(messages: Sequence[bytes]) -> bytes:
        lines = b"".join(b'{"op":"event","type":"tick","data":%b}\n' % each for each in messages)
        return b"%x\r\n%b\r\n" % (len(lines), lines)

    subscribe = protocols.http("GET", "/v1/stream")[:-2]
    subscribe += b"Accept: text/event-stream\r\nLast-Event-ID: @@@@@@@@@@\r\n\r\n"
    return Feed(
        publish,
        subscribe,
        "\r\n\r\n",
        check_ids=True,
        opening=opening.encode(),
        closing=b"0\r\n\r\n",
        finished=b'"status":"done"',
    )


def nchan() -> Feed:
    """nginx with nchan: one request per message, pipelined on one connection."""

    def publish(messages: Sequence[bytes]) -> bytes:
        return b"".join(protocols.http("POST", "/pub", each) for each in messages)

    subscribe = protocols.http("GET", "/sub")[:-2] + b"Accept: text/event-stream\r\n\r\n"
    return Feed(publish, subscribe, "\r\n\r\n")


def redis() -> Feed:
    """Redis publish/subscribe, commands pipelined."""

    def publish(messages: Sequence[bytes]) -> bytes:
        return b"".join(protocols.resp(b"PUBLISH", b"bench", each) for each in messages)

    return Feed(publish, protocols.resp(b"SUBSCRIBE", b"bench"), ":1\r\n")


def nats() -> Feed:
    """NATS without JetStream: at most once."""

    def publish(messages: Sequence[bytes]) -> bytes:
        return b"".join(b"PUB bench %d\r\n%b\r\n" % (len(each), each) for each in messages)

    subscribe = b'CONNECT {"verbose":false}\r\nSUB bench 1\r\nPING\r\n'
    return Feed(publish, subscribe, "PONG\r\n")


class Reading:
    """The process that holds the clients. Use as a context manager; it is ready then."""

    def __init__(
        self,
        reader: Sequence[str],
        server: Server,
        feed: Feed,
        directory: Path,
        *,
        clients: int,
        stalled: int = 0,
        start: int = 0,
    ) -> None:
        hello = directory / "subscribe.bin"
        hello.write_bytes(feed.subscribe)
        words = [server.port, clients + stalled, stalled, int(feed.check_ids), start, hello]
        pids = ",".join(map(str, server.pids()))
        self._process = subprocess.Popen(
            [*reader, *map(str, words), feed.ready, pids],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Reading":
        self._expect("ready", READY_SECS_MAX)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, *words: object) -> None:
        """Give a command; see stream_reader.c."""
        commands = _pipe(self._process.stdin)
        commands.write(" ".join(map(str, words)) + "\n")
        commands.flush()

    def complete(self, seconds: float) -> None:
        """Wait for the end of the stage that was commanded, for ``seconds`` at most."""
        self._expect("complete", seconds)

    def result(self) -> dict[str, Any]:
        """The reader's figures, after the last stage."""
        found: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return found

    def _expect(self, word: str, seconds: float) -> None:
        answers = _pipe(self._process.stdout)
        readable, _, _ = select.select([answers], [], [], seconds)
        line = answers.readline() if readable else ""
        if line.strip() != word:
            raise ReaderFailed(f"the reader said {line!r} instead of {word!r}")


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def publish(
    server: Server, feed: Feed, *, rate: float, begin_ns: int, end_ns: int, pad_bytes: int = 100
) -> int:
    """Publish ``rate`` messages a second from ``begin_ns`` to ``end_ns``; answers how many.

    The schedule does not wait for the server (an open loop): a message that goes out late,
    because the server did not take those before it, carries the time when it was due.
    """
    total = round(rate * (end_ns - begin_ns) / 1e9)
    tick_ns = max(TICK_SECS, 1 / rate) * 1e9
    pad = b"x" * pad_bytes
    sent = tick = 0
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _send(connection, feed.opening)
        while sent < total:
            tick += 1
            due_ns = begin_ns + round(tick * tick_ns)
            late_ns = time.monotonic_ns() - due_ns
            if late_ns < 0:
                time.sleep(-late_ns / 1e9)
            elif due_ns + late_ns > end_ns + 1e9:
                break
            upto = min(total, round(rate * tick * tick_ns / 1e9))
            numbers = range(sent + 1, upto + 1)
            if numbers:
                _send(connection, feed.publish([message(each, due_ns, pad) for each in numbers]))
            sent = upto
        _send(connection, feed.closing)
        _drain(connection, feed.finished)
    return sent


def _send(connection: socket.socket, content: bytes) -> None:
    """Send all, and read answers meanwhile: a server that cannot answer stops reading."""
    connection.setblocking(False)
    rest = memoryview(content)
    while rest:
        readable, writable, _ = select.select([connection], [connection], [])
        if readable:
            _read_answers(connection)
        if writable:
            rest = rest[connection.send(rest) :]


def _drain(connection: socket.socket, finished: bytes) -> None:
    """Read answers until ``finished`` is among them, or, when that is empty, until none has come
    for a while: closing earlier would reset the connection, and lose what is under way. A server
    that cannot keep up with the rate is not waited for longer: what it did not take is missing."""
    seconds = FINISH_SECS_MAX if finished else SILENCE_SECS
    received = b""
    while select.select([connection], [], [], seconds)[0]:
        received = received[-len(finished) :] + _read_answers(connection)
        if finished and finished in received:
            return


def _read_answers(connection: socket.socket) -> bytes:
    answers = connection.recv(262144)
    refused = b'"error":{' in answers or b"HTTP/1.1 4" in answers or b"HTTP/1.1 5" in answers
    if refused or not answers:
        raise PublishFailed(f"publishing was refused: {answers[:300]!r}")
    return answers
