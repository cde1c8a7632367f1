"""The epoch over HTTP: where it is told, and a place that is of another one."""

from contextlib import aclosing

from tests.api.caller import header, opened, reading
from tests.engine.sse import parse


async def first_frames(call, target, **headers):
    """What a stream says first, after its opening."""
    answer = await call("GET", target, **headers)
    async with aclosing(answer.body) as blobs:
        await anext(blobs)
        return header(answer, "kissvdb-epoch"), parse(await anext(blobs))


async def test_every_answer_names_the_epoch():
    async with opened() as call:
        epoch = reading(await call("GET", "/v1/ready"))["epoch"]
        assert len(epoch) == 16
        assert epoch == call.database.epoch
        for answer in (
            await call("GET", "/v1/ready"),
            await call("PUT", "/v1/state/k", {"value": 1}),
            await call("GET", "/v1/state/missing"),
            await call("GET", "/v1/state"),
            await call("HEAD", "/v1/stream"),
        ):
            assert header(answer, "kissvdb-epoch") == epoch


async def test_two_databases_in_memory_have_two_epochs():
    async with opened() as first, opened() as second:
        assert first.database.epoch != second.database.epoch


async def test_a_place_of_another_epoch_gets_a_gap_that_says_where_to_go_on():
    async with opened() as call:
        for number in range(3):
            await call("PUT", "/v1/state/k", {"value": number})
        for target, headers in (
            ("/v1/stream?since=2&epoch=00000000000000ff", {}),
            ("/v1/stream?since=2", {"kissvdb_epoch": "00000000000000ff"}),
            ("/v1/stream", {"kissvdb_epoch": "00000000000000ff", "last_event_id": "2"}),
        ):
            epoch, frames = await first_frames(call, target, **headers)
            (kind, place, data) = frames[0]
            assert (kind, place, data["reason"], data["epoch"]) == ("gap", 0, "epoch", epoch)
            assert data["to_offset"] == 2


async def test_a_place_of_this_epoch_goes_on_and_so_does_a_browser_that_reconnects():
    async with opened() as call:
        for number in range(3):
            await call("PUT", "/v1/state/k", {"value": number})
        epoch = call.database.epoch
        for target, headers in (
            (f"/v1/stream?since=2&epoch={epoch}", {}),
            ("/v1/stream?since=2&epoch=", {}),
            # EventSource keeps its address: `epoch` there is of the `since` there.
            ("/v1/stream?since=9&epoch=00000000000000ff", {"last_event_id": "2"}),
        ):
            _, frames = await first_frames(call, target, **headers)
            assert [place for _, place, _ in frames] == [3]
