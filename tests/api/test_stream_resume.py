"""Going on where a stream ended: what a client is told, and that it then misses nothing."""

import attrs
import pytest
import trio

from kissvdb.config import Stream
from kissvdb.core.state.rules import Put
from tests.api.wire import configured, door
from tests.patience import PATIENCE_SECS

# Sixteen events are all that a database in memory keeps.
SMALL = Stream(ring_events=16)


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
async def server(request):
    """A server that keeps little, through one door."""
    async with door(configured(lane=request.param, stream=SMALL)) as served:
        yield served


@attrs.frozen
class Frame:
    type: str
    id: str | None
    data: str


async def follow(server, target, count=1, last_event_id=None):
    """The first ``count`` frames of a stream; the client then leaves it."""
    # HTTP/1.0, which has no chunks.
    lines = [f"GET {target} HTTP/1.0", "host: x"]
    if last_event_id is not None:
        lines.append(f"last-event-id: {last_event_id}")
    received = b""
    with trio.fail_after(PATIENCE_SECS):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all("\r\n".join([*lines, "", ""]).encode())
            while received.count(b"\ndata: ") < count or not received.endswith(b"\n\n"):
                more = await stream.receive_some()
                assert more, received
                received += more
    head, _, body = received.decode().partition("\r\n\r\n")
    assert " 200 " in head
    texts = [text for text in body.split("\n\n") if text and not text.startswith(":")]
    return [_frame(text) for text in texts[:count]]


def _frame(text):
    fields = dict(line.split(": ", 1) for line in text.split("\n"))
    return Frame(fields["event"], fields.get("id"), fields["data"])


async def test_a_gap_ahead_of_the_log_has_the_id_to_go_on_from(server):
    for number in range(3):
        await server.database.put("x", number)
    [gap] = await follow(server, "/v1/stream?key=job", last_event_id="10")
    assert (gap.type, gap.id) == ("gap", "3")
    await server.database.put("job", 1)
    for number in range(12):
        await server.database.put("y", number)
    # What EventSource does by itself when it reconnects.
    [event] = await follow(server, "/v1/stream?key=job", last_event_id=gap.id)
    assert (event.type, event.id) == ("state_updated", "4")


async def test_a_gap_of_what_was_trimmed_has_the_id_to_go_on_from(server):
    await server.database.write_many([Put(f"k{number}", b"1") for number in range(40)])
    [gap] = await follow(server, "/v1/stream?key=none", last_event_id="2")
    assert gap.type == "gap"
    assert f'"to_offset":{gap.id},' in gap.data
    [event] = await follow(server, "/v1/stream", last_event_id=gap.id)
    assert int(event.id) == int(gap.id) + 1
