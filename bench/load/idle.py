"""What clients of the stream take that nothing happens to."""

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from bench.load import protocols, servers
from bench.load.closed_loop import cpu_seconds
from bench.load.process import Server, call

SETTLE_SECS = 3.0
"""Longer than a connection is looked after by a task of its own."""
EVENTS = 20
EVENT_SECS = 0.25
HEAD_SECS_MAX = 10
_SPARE_DESCRIPTORS = 200


def measure(directory: Path, clients: int) -> int:
    """Print what our server takes of memory for each of so many clients, connected one after the
    other, and of CPU for each event and client; 0."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + _SPARE_DESCRIPTORS
    if wanted > most:
        raise SystemExit(f"--idle: this machine lets a process have {most} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    with servers.kissvdb(directory) as server, ExitStack() as stack:
        # What the first ones load and allocate for all is not theirs.
        _connect(stack, server, min(50, clients))
        before, resting = _anonymous_bytes(server), _cpu_of(server, 0)
        _connect(stack, server, clients)
        after, working = _anonymous_bytes(server), _cpu_of(server, EVENTS)
        alone = max(0.0, working - resting) * 1e6 / (EVENTS * clients)
        print(f"{clients:,} idle clients: {(after - before) / clients:,.0f} bytes of memory each")
        print(f"an event to all of them: {alone:.1f} us of CPU for each client")
    return 0


def _connect(stack: ExitStack, server: Server, clients: int) -> None:
    """Open streams and wait until nothing is done for them any more."""
    request = protocols.http("GET", "/v1/stream?since=now")
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", server.port), HEAD_SECS_MAX)
        stack.enter_context(connection)
        connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(f"a stream was refused: {head[:300]!r}")
    time.sleep(SETTLE_SECS)


def _cpu_of(server: Server, events: int) -> float:
    """CPU seconds of the server while so many events come, one after the other, or while as much
    time passes without any."""
    before = cpu_seconds(server.pids())
    for _ in range(EVENTS):
        if events:
            call(server.port, "POST", "/v1/events", b'{"type":"tick","data":1}')
        time.sleep(EVENT_SECS)
    return cpu_seconds(server.pids()) - before


def _anonymous_bytes(server: Server) -> int:
    """Memory of the server that is not of files."""
    total = 0
    for pid in server.pids():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                total += int(line.split()[1]) * 1024
    return total
