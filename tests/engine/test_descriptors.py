"""No free descriptor: what needs one is refused, and all goes on when there is one again."""

import io
import tarfile

import pytest
import trio

from kissvdb.config import Config, Log, Search, Storage
from kissvdb.core.events.stream import StreamQuery
from kissvdb.engine.opening import open_database
from kissvdb.errors import Overloaded, PersistenceFailed
from tests.api.caller import Caller, refused
from tests.descriptors import no_descriptors

SEGMENT_BYTES = 2**20
EXACT = Search(compile=False)


@pytest.fixture
def config(tmp_path):
    storage = Storage(data_dir=str(tmp_path))
    return Config(storage=storage, log=Log(segment_max_bytes=SEGMENT_BYTES), search=EXACT)


async def test_a_log_that_cannot_begin_a_segment_refuses_and_the_next_write_works(config):
    async with open_database(config) as database:
        done, refusals = 0, []
        with no_descriptors():
            while not refusals:
                try:
                    await database.put(f"k{done}", "x" * 60_000)
                    done += 1
                except PersistenceFailed as refusal:
                    refusals.append(refusal.message)
            # What fits is still taken.
            await database.put("small", 1)
        assert "limit of open files" in refusals[0]
        await database.put("after", "x" * 60_000)
    async with open_database(config) as database:
        assert database.get(f"k{done - 1}") is not None
        assert database.get(f"k{done}") is None
        assert database.get("small") is not None
        assert database.get("after") is not None


@pytest.mark.parametrize("memory", [True, False])
async def test_collections_that_cannot_be_made_or_grow_are_refused(config, tmp_path, memory):
    config = Config(storage=Storage(data_dir=str(tmp_path), memory=memory), search=EXACT)
    async with open_database(config) as database:
        vectors = database.vectors
        await vectors.create("c", dim=2, metric="l2")
        with no_descriptors():
            with pytest.raises(PersistenceFailed):
                await vectors.create("new", dim=2, metric="l2")
            kept = 0
            with pytest.raises(PersistenceFailed):  # noqa: PT012
                while True:
                    await vectors.upsert("c", f"v{kept}", [kept, 2], {"text": "x" * 20_000})
                    kept += 1
            hits = await vectors.search("c", [0, 2], k=kept + 10)
            assert [hit.id for hit in hits] == [f"v{n}" for n in range(kept)]
        await vectors.create("new", dim=2, metric="l2")
        for name in ("c", "new"):
            await vectors.upsert(name, "a", [-1, 2], {"text": "x" * 60_000})
            hits = await vectors.search(name, [-1, 2])
            assert hits[0].id == "a"


async def test_a_checkpoint_or_backup_that_cannot_open_files_is_refused_with_a_status(
    config, tmp_path
):
    async with open_database(config) as database:
        call = Caller(database, config, database.metrics)
        await database.put("k", 1)
        await database.vectors.create("c", dim=2, metric="l2")
        await database.vectors.upsert("c", "a", [1, 2])
        with no_descriptors():
            refused(await call("GET", "/v1/backup"), 503, "persistence_error")
            answer = await call("POST", "/v1/snapshot")
            assert answer.status in (200, 503)
        assert not list(tmp_path.glob(".scratch-*"))
        assert (await call("POST", "/v1/snapshot")).status == 200
        answer = await call("GET", "/v1/backup")
        blob = b"".join([block async for block in answer.body])
        with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
            names = tar.getnames()
        assert "backup.json" in names
        assert "state-0.db" in names


async def test_what_a_backup_left_that_a_crash_broke_off_is_removed(config, tmp_path):
    left = tmp_path / ".scratch-abc"
    left.mkdir()
    (left / "state-0.db").write_bytes(b"a part of it")
    async with open_database(config):
        assert not left.exists()


async def test_a_backup_that_is_never_read_lets_go_of_the_log(config):
    async with open_database(config) as database:
        call = Caller(database, config, database.metrics)
        await database.put("k", 1)
        answer = await call("GET", "/v1/backup")
        assert database._holds
        await answer.body.aclose()
        assert not database._holds


async def test_a_replay_that_cannot_open_the_log_is_refused_and_the_next_one_works(config):
    async with open_database(config) as database:
        await database.put("k", 1)
        with no_descriptors(), pytest.raises(Overloaded):
            await database._current.hub._history.read(0, until=1)
        with trio.fail_after(20):
            stream = database.subscribe(StreamQuery(since=0))
            while b"id: 1\n" not in await anext(stream):
                pass
            await stream.aclose()
