"""A log that turns out to be damaged while clients read it: told to them, and to nobody else."""

import json
import socket

import pytest
import trio

from kissvdb.config import Config, Http, Log, Server, Storage, Stream
from kissvdb.core.state.rules import Put
from tests.api.wire import door, read_until
from tests.patience import PATIENCE_SECS

BIG = "x" * 50_000
COUNT = 300
"""Of 50 KB: more than the buffers of a socket ever hold."""


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
async def server(request, tmp_path):
    """A server with a short ring and many log segments, through one door."""
    config = Config(
        storage=Storage(data_dir=str(tmp_path / "data")),
        server=Server(port=0),
        http=Http(lane=request.param),
        log=Log(segment_max_bytes=2**20),
        stream=Stream(ring_events=16),
    )
    async with door(config) as served:
        yield served


def damage(tmp_path, key):
    """Flip a bit in the record that wrote ``key``, under the running server."""
    for segment in sorted((tmp_path / "data" / "log").glob("*.log")):
        content = segment.read_bytes()
        at = content.find(b"\xa6" + key.encode())
        if at >= 0:
            with segment.open("r+b") as file:
                file.seek(at + 1)
                file.write(b"?")
            return segment.name
    raise AssertionError(f"{key} is in no segment")


async def open_stream(server, target="/v1/stream", receive_buffer_bytes=None):
    """A connection whose stream has begun. HTTP/1.1: how a body ends is part of it."""
    connected = trio.socket.socket()
    if receive_buffer_bytes is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    await connected.connect(("127.0.0.1", server.port))
    stream = trio.SocketStream(connected)
    await stream.send_all(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    return stream, await read_until(stream, b": ok")


async def read_to_the_end(stream):
    received = b""
    with trio.fail_after(PATIENCE_SECS):
        while not received.endswith(b"\r\n0\r\n\r\n"):
            more = await stream.receive_some()
            assert more, received[-1000:]
            received += more
    return received


async def fill(server, first=0):
    value = json.dumps(BIG).encode()
    puts = [Put(f"k{number:05}", value) for number in range(first, COUNT)]
    for start in range(0, len(puts), 10):
        await server.database.write_many(puts[start : start + 10])


def check_told(received, segment):
    """The stream's last event names what is damaged; it has no place, so the client keeps its."""
    event, _, rest = received.rpartition(b"event: error\n")[2].partition(b"\n\n")
    told = json.loads(event.removeprefix(b"data: "))
    assert told["error"] == "damaged"
    assert segment in told["message"]
    assert b"event:" not in rest
    assert b"HTTP/1.1 500" not in received


async def check_goes_on(server):
    """Others are served: a stream from behind the damage, and writes."""
    last = server.database.last_offset
    stream, _ = await open_stream(server, f"/v1/stream?since={last}")
    async with stream:
        answer = await server.http.put("/v1/state/after", json={"value": 1})
        assert answer.status_code == 200
        await read_until(stream, b"id: %d\n" % (last + 1))


async def test_a_replay_into_damage_ends_with_what_happened(server, tmp_path):
    await fill(server)
    segment = damage(tmp_path, "k00040")
    stream, received = await open_stream(server, "/v1/stream?since=0")
    async with stream:
        received += await read_to_the_end(stream)
    ids = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert ids == list(range(1, 41)), "all that can be read comes first"
    check_told(received, segment)
    await check_goes_on(server)


async def test_a_slow_client_that_falls_back_into_damage_is_told(server, tmp_path):
    stream, received = await open_stream(server, receive_buffer_bytes=65536)
    async with stream:
        await fill(server)
        segment = damage(tmp_path, "k00250")
        await fill(server, COUNT - 20)
        received += await read_to_the_end(stream)
    check_told(received, segment)
    await check_goes_on(server)
