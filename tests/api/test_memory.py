"""What a collection takes of memory and disk, and the bound on it."""

import json
from pathlib import Path

import pytest

from kissvdb.config import Config, Limits, Search, Storage
from tests.api.caller import Caller, message, opened, reading, refused

DIM, ROWS = 32, 600
IN_NUMPY = Search(compile=False)
WAYS = ("vector_memory_bytes", "VECTOR_MEMORY_BYTES", "vacuum")


def on_disk(tmp_path, most=0):
    storage = Storage(data_dir=str(tmp_path / "data"))
    return Config(storage=storage, search=IN_NUMPY, limits=Limits(vector_memory_bytes=most))


def items(count, first=0):
    return [{"id": f"v{n}", "vector": [n] * DIM} for n in range(first, first + count)]


async def fill(call: Caller, count=ROWS):
    """Write so many vectors; how many were written, and what the first other one was told."""
    done, refusal = 0, None
    for start in range(0, count, 200):
        body = {"items": items(min(200, count - start), start)}
        answer = await call("POST", "/v1/vector/c/upsert_batch", body)
        assert answer.status == 200, answer.body
        for each in reading(answer)["results"]:
            done += each["status"] == "upserted"
            refusal = refusal or each.get("error")
    return done, refusal


async def memory(call, collection="c"):
    return reading(await call("GET", f"/v1/vector/{collection}"))["memory"]


def size_of(config, collection):
    files = Path(config.storage.data_dir, "vectors", collection).iterdir()
    return sum(path.stat().st_size for path in files)


async def create(call, collection="c", **index):
    body = {"dim": DIM, "metric": "l2", **({"index": index} if index else {})}
    return await call("POST", f"/v1/vector/{collection}", body)


async def test_rows_are_mapped_from_files_and_ids_are_memory(tmp_path):
    config = on_disk(tmp_path)
    async with opened(config) as call:
        await create(call)
        empty = await memory(call)
        assert empty["bytes_a_row"] == {"heap": 0, "mapped": 0, "disk": 0}
        assert (await fill(call))[0] == ROWS
        found = await memory(call)
        # An id, its slot and its end, and no vector.
        assert 16 * ROWS < found["heap"] - empty["heap"] < 4 * DIM * ROWS
        assert found["mapped"] >= 4 * DIM * ROWS
        await call.database.vectors.find("c").upkeep.save()
        found = await memory(call)
        assert found["disk"] == size_of(config, "c") >= 4 * DIM * ROWS
        rows = {name: round(found[name] / ROWS, 1) for name in ("heap", "mapped", "disk")}
        assert found["bytes_a_row"] == rows
    async with opened(config) as call:
        again = await memory(call)
        # Its ids are in a file now.
        assert again["heap"] < found["heap"]
        assert again["mapped"] > found["mapped"]
        assert again["disk"] == found["disk"]


async def test_without_files_all_of_it_is_memory():
    async with opened(search=IN_NUMPY) as call:
        await create(call)
        assert (await fill(call))[0] == ROWS
        found = await memory(call)
        assert found["heap"] >= 4 * DIM * ROWS
        assert (found["mapped"], found["disk"]) == (0, 0)


async def test_writes_beyond_the_bound_are_refused_and_nothing_of_them_is_logged(tmp_path):
    most = 120_000
    async with opened(on_disk(tmp_path, most)) as call:
        await create(call)
        done, refusal = await fill(call, 800)
        assert 200 < done < 800
        assert reading(await call("GET", "/v1/vector/c"))["count"] == done
        before = call.database.last_offset
        upsert = {"id": "x", "vector": [1] * DIM}
        answer = await call("POST", "/v1/vector/c/upsert", upsert)
        vamana = ("/v1/vector/c/reindex", "vamana")
        refused(answer, 409, "memory_exceeded", str(most), *WAYS, *vamana)
        assert refusal["error"] == "memory_exceeded"
        need = int(message(answer).split(" needs ")[1].split()[0])
        assert most < need < 1.1 * most
        answer = await call("POST", "/v1/vector/d", {"dim": DIM})
        refused(answer, 409, "memory_exceeded", "'d'", *WAYS)
        assert call.database.last_offset == before
        # What takes no more is let in, and so is what there is room for after that.
        gone = {"ids": [f"v{n}" for n in range(200)]}
        assert (await call("POST", "/v1/vector/c/delete_batch", gone)).status == 200
        answer = await call("POST", "/v1/vector/c/upsert", upsert)
        refused(answer, 409, "memory_exceeded")
        assert (await call("POST", "/v1/vector/c/vacuum")).status == 200
        assert (await call("POST", "/v1/vector/c/upsert", upsert)).status == 200
        answer = await call("POST", "/v1/vector/c/reindex", {"index": {"kind": "flat"}})
        assert answer.status == 202, answer.body
        assert (await call("DELETE", "/v1/vector/c")).status == 200
        assert (await create(call)).status == 200
        assert (await fill(call, 200))[0] == 200


async def test_a_kind_with_links_on_disk_fits_where_one_with_links_in_memory_does_not(tmp_path):
    async with opened(on_disk(tmp_path, 90_000)) as call:
        await create(call, kind="vamana")
        assert (await fill(call))[0] == ROWS
        answer = await call("POST", "/v1/vector/c/reindex", {"index": {"kind": "hnsw"}})
        refused(answer, 409, "memory_exceeded", "hnsw", *WAYS)
        assert reading(await call("GET", "/v1/vector/c"))["reindex"] is None


async def test_what_is_there_at_a_start_stays(tmp_path):
    async with opened(on_disk(tmp_path)) as call:
        await create(call)
        assert (await fill(call))[0] == ROWS
    async with opened(on_disk(tmp_path, 50_000)) as call:
        assert reading(await call("GET", "/v1/vector/c"))["count"] == ROWS
        answer = await call("POST", "/v1/vector/c/upsert", {"id": "x", "vector": [1] * DIM})
        refused(answer, 409, "memory_exceeded", "50000")
        # Also among operations of a batch, which is all or nothing.
        operations = [
            {"op": "put", "key": "k", "value": 1},
            {"op": "upsert", "collection": "c", "id": "x", "vector": [1] * DIM},
        ]
        answer = await call("POST", "/v1/batch", {"operations": operations})
        told = json.loads(answer.body)
        assert (answer.status, told["error"], told["operation"]) == (409, "memory_exceeded", 1)
        assert (await call("GET", "/v1/state/k")).status == 404


@pytest.mark.parametrize("most", [0, 10**9])
async def test_with_room_enough_nothing_is_refused(most):
    limits = Limits(vector_memory_bytes=most)
    async with opened(search=IN_NUMPY, limits=limits) as call:
        assert (await create(call)).status == 200
        assert (await fill(call))[0] == ROWS
