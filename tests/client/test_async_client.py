"""The client on Trio and on asyncio: the parts that are not made of the same text."""

import anyio
import pytest
import trio

from kissvdb import errors
from kissvdb.client import AsyncClient, Config, Gap
from kissvdb.config import Server
from kissvdb.testing import serve
from tests.api.wire import configured, door


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        yield running.url


async def use(url, backend):
    name = f"v-{backend}"
    async with AsyncClient(config=Config(url=url)) as client:
        since = client.last_offset or "now"
        async with client.stream.events(since=since, key_prefix=f"{backend}:") as stream:
            with anyio.fail_after(30):
                async with anyio.create_task_group() as tasks:
                    for n in range(20):
                        tasks.start_soon(client.state.put, f"{backend}:{n}", n)
                found = [await anext(stream) for _ in range(20)]
        assert sorted(event.data["value"] for event in found) == list(range(20))
        await client.vector.create(name, 2)
        await client.vector.upsert(name, "a", [1.0, 0.0])
        assert (await client.vector.search(name, [1.0, 0.0])).hits[0].id == "a"
        assert [item.value async for item in client.state.items(f"{backend}:1")][:1] == [1]
        with pytest.raises(errors.NotFound):
            await client.vector.info("nope")
        loaded = await client.bulk({"op": "put", "key": f"b{n}", "value": n} for n in range(10))
        assert loaded.done == 10


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_it_runs_on(url, backend):
    anyio.run(use, url, backend, backend=backend)


async def test_a_call_that_is_cancelled_leaves_no_half_answer_for_the_next(url):
    async with AsyncClient(config=Config(url=url)) as client:
        await client.state.put("cancelled", "x" * 1000)
        for pause in (0, 0.0001, 0.0005, 0.001):
            with trio.move_on_after(pause):
                await client.state.get("cancelled")
            assert (await client.state.get("nothing")) is None


async def test_a_place_in_another_history_is_a_gap(url):
    async with (
        AsyncClient(config=Config(url=url)) as client,
        client.stream.events(since=5, epoch="00000000deadbeef") as stream,
    ):
        with trio.fail_after(30):
            found = await anext(stream)
    assert isinstance(found, Gap)
    assert found.reason == "epoch"


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])
async def test_a_load_whose_key_is_revoked_in_its_midst_does_not_pass_for_a_whole_one(lane):
    async with door(configured(lane, server=Server(api_key="k"))) as served:
        body = {"name": "load", "limits": {"body_bytes_per_sec": 50_000}}
        answer = await served.http.post("/v1/auth/keys", json=body, headers={"x-api-key": "k"})
        key = answer.json()

        async def revoke():
            await served.database.reached(2)
            await served.http.delete(f"/v1/auth/keys/{key['id']}", headers={"x-api-key": "k"})

        config = Config(url=f"http://127.0.0.1:{served.port}", key=key["key"])
        async with AsyncClient(config=config) as client, trio.open_nursery() as tasks:
            tasks.start_soon(revoke)
            with pytest.raises(errors.Unauthorized, match="revoked"):
                await client.bulk(
                    {"op": "put", "key": f"load:{n}", "value": "x" * 1000} for n in range(400)
                )
