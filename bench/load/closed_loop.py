"""The closed-loop load in Python: same arguments and answer as closed_loop.c, but no gRPC.

For machines without a C compiler. It costs several times as much CPU per request, so it may be
what limits the figures.
"""

import json
import os
import re
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

import attrs

from bench.load.protocols import CONNECTION

READ_BYTES = 262144
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@attrs.frozen
class Load:
    """The command line, read."""

    port: int
    connections: int
    warmup_s: float
    measure_s: float
    framing: str
    hello: bytes
    requests: list[bytes]
    replies: int
    bad: bytes
    pids: list[int]

    @classmethod
    def of(cls, argv: list[str]) -> "Load":
        port, connections, warmup_ms, measure_ms, framing, hello, requests, replies, bad, pids = (
            argv
        )
        return cls(
            int(port),
            int(connections),
            int(warmup_ms) / 1000,
            int(measure_ms) / 1000,
            framing,
            Path(hello).read_bytes(),
            read_requests(Path(requests)),
            int(replies),
            bad.encode(),
            [int(pid) for pid in pids.split(",") if pid],
        )


@attrs.define(slots=True)
class Connection:
    """One connection: what it waits for and what it has received."""

    socket: socket.socket
    number: bytes
    next: int
    greeted: bool
    awaited: int = 0
    sent_at: float = 0.0
    received: bytes = b""


class Loader:
    """Drive all connections from one loop."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._selector = selectors.EpollSelector()
        self._framing = {"http": http_answer, "resp": resp_answer, "nats": nats_answer}[
            load.framing
        ]
        self._recording = False
        self._latencies: list[float] = []
        self.errors = 0

    def run(self) -> dict[str, object]:
        load = self._load
        for number in range(load.connections):
            self._open(number)
        begin = time.monotonic() + load.warmup_s
        self._until(begin)
        self._recording = True
        begin, cpu = time.monotonic(), cpu_seconds(load.pids)
        self._until(begin + load.measure_s)
        elapsed = time.monotonic() - begin
        return {
            "requests": len(self._latencies),
            "errors": self.errors,
            "elapsed_s": elapsed,
            "cpu_s": cpu_seconds(load.pids) - cpu,
            "latency_ns": [[int(each * 1e9), 1] for each in sorted(self._latencies)],
        }

    def _open(self, number: int) -> None:
        load = self._load
        opened = socket.create_connection(("127.0.0.1", load.port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        digits = b"%08d" % number
        count = len(load.requests)
        place = number * max(1, count // load.connections) % count
        connection = Connection(opened, digits, place, load.framing != "nats")
        self._selector.register(opened, selectors.EVENT_READ, connection)
        if load.hello:
            opened.sendall(load.hello.replace(CONNECTION, digits))
        if connection.greeted:
            self._send(connection)

    def _until(self, end: float) -> None:
        while time.monotonic() < end:
            for key, _ in self._selector.select(0.01):
                self._receive(key.data)

    def _send(self, connection: Connection) -> None:
        request = self._load.requests[connection.next]
        connection.next = (connection.next + 1) % len(self._load.requests)
        connection.awaited = self._load.replies
        connection.sent_at = time.perf_counter()
        connection.socket.sendall(request.replace(CONNECTION, connection.number))

    def _receive(self, connection: Connection) -> None:
        more = connection.socket.recv(READ_BYTES)
        if not more:
            sys.exit(f"connection {connection.number.decode()} was closed by the server")
        received = connection.received + more
        at = 0
        while at < len(received):
            size, counts, bad = self._framing(received, at)
            if not size:
                break
            answer = received[at : at + size]
            at += size
            if counts:
                self._take(connection, answer, bad)
            elif answer.startswith(b"PONG"):
                connection.greeted = True
                self._send(connection)
            elif answer.startswith(b"PING"):
                connection.socket.sendall(b"PONG\r\n")
        connection.received = received[at:]

    def _take(self, connection: Connection, answer: bytes, bad: bool) -> None:
        if bad or (self._load.bad and self._load.bad in answer):
            if not self.errors:
                print("first error:", answer, file=sys.stderr)
            self.errors += 1
        connection.awaited -= 1
        if connection.awaited > 0:
            return
        if self._recording:
            self._latencies.append(time.perf_counter() - connection.sent_at)
        self._send(connection)


def http_answer(received: bytes, at: int) -> tuple[int, bool, bool]:
    """Size of the answer at ``at`` (0: incomplete), whether it counts, whether it is an error."""
    end = received.find(b"\r\n\r\n", at)
    if end < 0:
        return 0, False, False
    bad = not received.startswith(b"HTTP/1.1 2", at)
    head, body = received[at:end], end + 4
    if _CHUNKED.search(head):
        size = -1
        while size != 0:
            line = received.find(b"\r\n", body)
            if line < 0:
                return 0, False, False
            size = int(received[body:line], 16)
            body = line + 2 + size + 2
    else:
        length = _LENGTH.search(head)
        body += int(length.group(1)) if length else 0
    return (body - at if body <= len(received) else 0), True, bad


def resp_answer(received: bytes, at: int) -> tuple[int, bool, bool]:
    """As `http_answer`, of the Redis protocol: strings, errors, integers."""
    end = received.find(b"\r\n", at) + 2
    if end < 2:
        return 0, False, False
    if received[at] == ord("$") and received[at + 1] != ord("-"):
        end += int(received[at + 1 : end]) + 2
    return (end - at if end <= len(received) else 0), True, received[at] == ord("-")


def nats_answer(received: bytes, at: int) -> tuple[int, bool, bool]:
    """As `http_answer`, of the NATS protocol: messages and errors count, the rest does not."""
    end = received.find(b"\r\n", at) + 2
    if end < 2:
        return 0, False, False
    line = received[at:end]
    if line.startswith(b"MSG"):
        end += int(line.split()[-1]) + 2
        return (end - at if end <= len(received) else 0), True, False
    return end - at, line.startswith(b"-"), line.startswith(b"-")


def read_requests(path: Path) -> list[bytes]:
    """The requests of a file: each a 4-byte little-endian length and its bytes."""
    content, at, requests = path.read_bytes(), 0, []
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        requests.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes with all their threads."""
    ticks = 0
    for pid in pids:
        # The command name may hold spaces: fields count from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(json.dumps(Loader(Load.of(sys.argv[1:])).run()))
