"""The stream reader in Python: same arguments, commands and answer as stream_reader.c.

For machines without a C compiler. It looks at the first and the last message of each read and
counts those between, so it makes no object per message; the age it reports is that of the first,
which is the oldest. Clients that resume after a stall do not connect again here.
"""

import json
import re
import resource
import selectors
import socket
import sys
import time
from pathlib import Path

import attrs

from bench.load.closed_loop import cpu_seconds

PLACEHOLDER = b"@@@@@@@@@@"
READ_BYTES = 262144
_GAP = re.compile(
    rb'event: gap\n(?:id: \d+\n)?data: \{"from_offset":(\d+),"to_offset":(\d+)[^\n]*\n'
)
_ID = re.compile(rb"\nid: (\d+)")
# Chunk boundaries of HTTP lie between frames: a size in hexadecimal on a line of its own.
_CHUNK = re.compile(rb"(?:\r\n)?[0-9A-Fa-f]+\r\n(?=event|id|data|:)")


@attrs.define(slots=True, eq=False)
class Client:
    """One connection and how far it has come."""

    socket: socket.socket
    number: int
    stalled: bool
    last_id: int
    last_n: int = 0
    received: int = 0
    ready: bool = False
    chunked: bool = False
    after_gap: bool = False
    tail: bytes = b""


class Reader:
    """All clients in one loop, and the commands on standard input."""

    def __init__(self, argv: list[str]) -> None:
        port, clients, stalled, check_ids, start, hello, ready, pids = argv
        self._selector = selectors.EpollSelector()
        self._check_ids = check_ids == "1"
        self._ready = ready.encode()
        self._pids = [int(pid) for pid in pids.split(",") if pid]
        self._stalled = int(stalled)
        self._begin, self._end = 0, 2**63
        self._cpu: list[float] = []
        self._ages: dict[int, int] = {}
        self._gaps: list[dict[str, int]] = []
        self._deliveries = self._disordered = self._closed = self._inexact = 0
        text = Path(hello).read_bytes().replace(PLACEHOLDER, b"%10d" % int(start))
        self._clients = [
            self._open(int(port), text, number, int(start)) for number in range(int(clients))
        ]

    def run(self) -> None:
        """Serve the commands until the last stage is over."""
        while not all(client.ready for client in self._clients):
            self._poll()
        print("ready", flush=True)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._until_told("finish", self._clients[self._stalled :])
        if self._stalled:
            self._until_told("resume", self._clients[: self._stalled])
        print(json.dumps(self._result()), flush=True)

    def _open(self, port: int, hello: bytes, number: int, start: int) -> Client:
        opened = socket.socket()
        stalled = number < self._stalled
        if stalled:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.connect(("127.0.0.1", port))
        opened.sendall(hello)
        client = Client(opened, number, stalled, start)
        self._selector.register(opened, selectors.EVENT_READ, client)
        return client

    def _until_told(self, stage: str, clients: list[Client]) -> None:
        """Read until the command ``stage`` has come and is fulfilled, or its time is over."""
        deadline = None
        while deadline is None or (
            time.monotonic() < deadline and any(each.last_n < self._last for each in clients)
        ):
            for line in self._poll():
                word, *numbers = line.split()
                if word == "window":
                    self._begin, self._end = map(int, numbers)
                else:
                    assert word == stage, line
                    deadline = time.monotonic() + int(numbers[-1]) / 1000
                    if word == "finish":
                        self._last = int(numbers[0])
                    else:
                        for client in clients:
                            self._selector.register(client.socket, selectors.EVENT_READ, client)
        print("complete", flush=True)

    def _poll(self) -> list[str]:
        lines = []
        for key, _ in self._selector.select(0.005):
            if key.data is None:
                lines.append(sys.stdin.readline())
            else:
                self._receive(key.data)
        now = time.monotonic_ns()
        if (not self._cpu and now >= self._begin > 0) or (len(self._cpu) == 1 and now >= self._end):
            self._cpu.append(cpu_seconds(self._pids))
        return [line for line in lines if line]

    def _receive(self, client: Client) -> None:
        more = client.socket.recv(READ_BYTES)
        now = time.monotonic_ns()
        if not more:
            self._selector.unregister(client.socket)
            self._closed += 1
            return
        content = client.tail + more
        if not client.ready:
            head, found, content = content.partition(self._ready)
            if not found:
                client.tail = head
                return
            if head.startswith(b"HTTP/") and b" 200" not in head[:13]:
                sys.exit(f"refused: {head!r}")
            client.ready, client.chunked = True, b"ransfer-" in head and b": chunked" in head
            if client.stalled:
                self._selector.unregister(client.socket)
        end = content.rfind(b"\n\n" if client.chunked else b"\n") + 1
        client.tail = content[end:]
        self._take(client, b"\n" + content[:end], now)

    def _take(self, client: Client, content: bytes, now: int) -> None:
        if client.chunked:
            content = b"\n" + _CHUNK.sub(b"", content).lstrip(b"\n")
        if content.find(b"PING\r\n") >= 0:
            client.socket.sendall(b"PONG\r\n")
        while (gap := _GAP.search(content)) is not None:
            self._messages(client, content[: gap.start()], now)
            first, last = int(gap.group(1)), int(gap.group(2))
            self._inexact += first != client.last_id + 1
            self._gaps.append({"client": client.number, "from": first, "to": last})
            client.last_id, client.after_gap = last, True
            content = b"\n" + content[gap.end() :]
        self._messages(client, content, now)

    def _messages(self, client: Client, content: bytes, now: int) -> None:
        count = content.count(b'"n":')
        if not count:
            return
        first, due = _message(content, content.find(b'"n":'))
        last, _ = _message(content, content.rfind(b'"n":'))
        follows = client.after_gap or first == client.last_n + 1
        follows = follows and last - first + 1 == count
        if self._check_ids:
            first_id, last_id = _first_and_last_id(content)
            follows = follows and first_id == client.last_id + 1
            follows = follows and last_id - first_id + 1 == count
            client.last_id = last_id
        self._disordered += not follows
        client.after_gap = False
        client.last_n = last
        client.received += count
        if self._begin <= now < self._end:
            self._deliveries += count
        if due >= self._begin and not client.stalled:
            # Whole microseconds, so that there are not more buckets than needed.
            age = max(0, now - due) // 1000 * 1000
            self._ages[age] = self._ages.get(age, 0) + count

    def _result(self) -> dict[str, object]:
        reading = [client.received for client in self._clients[self._stalled :]]
        stalled = self._clients[: self._stalled]
        return {
            "deliveries": self._deliveries,
            "total": sum(client.received for client in self._clients),
            "least": min(reading),
            "most": max(reading),
            "disordered": self._disordered,
            "closed": self._closed,
            "reconnects": 0,
            "inexact_gaps": self._inexact,
            "gap_count": len(self._gaps),
            "cpu_s": self._cpu[1] - self._cpu[0] if len(self._cpu) == 2 else 0.0,
            "stalled": [{"received": each.received, "last_n": each.last_n} for each in stalled],
            "gaps": self._gaps,
            "latency_ns": sorted(self._ages.items()),
        }


def _message(content: bytes, at: int) -> tuple[int, int]:
    """``n`` and ``t`` of the message whose ``"n":`` is at ``at``."""
    comma = content.find(b",", at)
    return int(content[at + 4 : comma]), int(content[comma + 5 : content.find(b",", comma + 1)])


def _first_and_last_id(content: bytes) -> tuple[int, int]:
    at = content.rfind(b"\nid: ") + 5
    first = _ID.search(content)
    assert first is not None
    return int(first.group(1)), int(content[at : content.find(b"\n", at)])


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Reader(sys.argv[1:]).run()
