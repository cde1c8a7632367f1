"""Changing the embedder of a collection: nothing is lost, and models are never mixed."""

import io
import json
import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio

from kissvdb.config import Config, Search, Storage
from kissvdb.core.rows.rules import Add, Delete, Upsert
from kissvdb.engine.opening import open_database
from kissvdb.engine.owner import Hold
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import AlreadyExists, DimMismatch, EmbedderMismatch, NotFound, TextMissing
from kissvdb.storage import backup
from kissvdb.storage.check import check
from tests.api.embedding_service import service, vector_of
from tests.engine.sse import collect
from tests.patience import PATIENCE_SECS

FEW, MANY = 24, 40
"""The dims of two models."""


@pytest.fixture(scope="module")
def words():
    with service() as running:
        yield running


@pytest.fixture
def config(tmp_path, words):
    words.broken = False
    words.may_answer.set()
    return Config(
        storage=Storage(data_dir=str(tmp_path / "data")),
        search=Search(compile=False),
        embedder=words.settings("few", FEW),
        embedders={"many": words.settings("many", MANY), "same": words.settings("same", FEW)},
    )


async def fill(db, count=5):
    await db.vectors.create("c", embedder="default")
    upserts = [Upsert(f"v{n}", b"", b'{"n":%d}' % n, text=f"text {n}") for n in range(count)]
    commands = await db.vectors.texts.prepared([VectorCommand("c", each) for each in upserts])
    for answer in await db.write_many(commands):
        assert answer.offset


async def done(db, name="c"):
    await until(lambda: db.vectors.reindex_of(name) is None)


async def until(condition):
    deadline = trio.current_time() + PATIENCE_SECS
    while not condition():
        assert trio.current_time() < deadline
        await trio.sleep(0.01)


def content(db, name="c"):
    """What there is by id, and the dim that all vectors have."""
    view = db.vectors.find(name).actor.view()
    rows = [view.stored(row) for row in view.hidden.living(view.data.count).tolist()]
    for row in rows:
        wanted = np.array(vector_of(row.text, view.spec.dim))
        wanted /= np.linalg.norm(wanted)
        np.testing.assert_allclose(np.frombuffer(row.vector, "<f4"), wanted, rtol=1e-5)
    return {row.id: (row.text, row.meta, row.expires_at_ms) for row in rows}, view.spec.dim


def directories(config):
    return sorted(each.name for each in (Path(config.storage.data_dir) / "vectors").iterdir())


async def test_all_vectors_are_of_the_new_model_and_the_rest_is_as_it_was(config):
    async with open_database(config) as db:
        await fill(db)
        await db.vectors.write("c", Upsert("late", b"", text="late text", ttl_ms=10**9))
        await db.vectors.delete("c", "v3")
        before, dim = content(db)
        assert dim == FEW
        created = db.vectors.manifest("vector:c:manifest")
        await db.vectors.reindex("c", "many")
        await done(db)
        assert content(db) == (before, MANY)
        spec = db.vectors.find("c").spec
        assert (spec.name, spec.embedder, spec.embedder_model.split()[-1]) == (
            *("c", "many"),
            db.embedders.find("many").model.split()[-1],
        )
        shown = db.vectors.manifest("vector:c:manifest")
        assert json.loads(shown.value)["dim"] == MANY
        assert (shown.revision, shown.offset > created.offset) == (2, True)
        assert [each.name for each in db.vectors.all] == ["c"]
        assert directories(config) == ["c"]
        with pytest.raises(DimMismatch):
            await db.vectors.upsert("c", "wrong", [1] * FEW)
        await db.vectors.upsert("c", "new", text="a new text")
        before, _ = content(db)
    async with open_database(config) as db:
        assert content(db) == (before, MANY)
        # And back again.
        await db.vectors.reindex("c", "default")
        await done(db)
        assert content(db) == (before, FEW)
    assert check(config.storage.data_dir).ok


async def test_writes_during_the_job_are_not_lost(config, words):
    async with open_database(config) as db:
        await fill(db, 300)
        model = dict(content(db)[0])
        await db.vectors.reindex("c", "many")
        number = 0
        while db.vectors.reindex_of("c") is not None:
            number += 1
            id_ = f"v{number * 7 % 320}"
            try:
                if number % 5:
                    await db.vectors.upsert("c", id_, meta={"n": -number}, text=f"new {number}")
                    model[id_] = (f"new {number}", b'{"n":%d}' % -number, None)
                elif id_ in model:
                    await db.vectors.delete("c", id_)
                    del model[id_]
            except EmbedderMismatch:
                # It changed over while the text was embedded: nothing was written.
                continue
            if number == 100:
                await db.vectors.vacuum("c")
            if number > 150:
                await trio.sleep(0.02)
        assert number > 10
        assert content(db) == (model, MANY)


async def test_what_waits_while_it_changes_over_is_done_by_the_new_owner(config):
    async with open_database(config) as db:
        await fill(db)
        owner, former = db.vectors.owner("c"), db.vectors.find("c").spec.embedder_model
        outcomes = {}

        async def ask(name, command):
            try:
                outcomes[name] = await owner.ask(command)
            except EmbedderMismatch as refusal:
                outcomes[name] = refusal

        held = await owner.ask(Hold(()))
        await db.vectors.reindex("c", "same")
        # The job waits for its turn, and these behind it.
        await until(lambda: "reindex" in [each.working for each in db.vectors.targets()])
        await until(lambda: owner.statistics().depth)
        waiting = owner.statistics().depth
        vector = np.array(vector_of("x", FEW), "<f4").tobytes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "plain", Add("plain", vector, text="x"))
            await until(lambda: owner.statistics().depth > waiting)
            nursery.start_soon(ask, "deleted", Delete("v1"))
            nursery.start_soon(ask, "hold", Hold((Delete("v2"),)))
            await until(lambda: owner.statistics().depth >= waiting + 3)
            held.release()
            await until(lambda: "hold" in outcomes)
            outcomes["hold"].release()
            # Made by the former model: there are as many numbers, but of another meaning.
            nursery.start_soon(ask, "stale", Add("stale", vector, text="x", model=former))
        await done(db)
        assert isinstance(outcomes["stale"], EmbedderMismatch)
        found, _ = content(db)
        assert set(found) == {"plain", "v0", "v2", "v3", "v4"}
        assert outcomes["deleted"].offset > outcomes["plain"].offset


async def test_an_answered_op_id_is_answered_again_after_the_change(config):
    async with open_database(config) as db:
        await fill(db)
        add = Add("once", b"", text="once", op_id="op")
        first = await db.vectors.write("c", add)
        await db.vectors.reindex("c", "many")
        await done(db)
        again = await db.vectors.write("c", add)
        assert (again.offset, again.repeated) == (first.offset, True)
    async with open_database(config) as db:
        again = await db.vectors.write("c", add)
        assert (again.offset, again.repeated) == (first.offset, True)


async def test_what_cannot_be_embedded_refuses_the_whole_job(config):
    async with open_database(config) as db:
        await fill(db)
        await db.vectors.upsert("c", "bare", [1] * FEW)
        with pytest.raises(TextMissing, match="1 of the vectors"):
            await db.vectors.reindex("c", "many")
        with pytest.raises(NotFound, match="embedder"):
            await db.vectors.reindex("c", "nobody")
        with pytest.raises(NotFound):
            await db.vectors.reindex("~c", "many")
        assert directories(config) == ["c"]


async def test_a_job_waits_for_its_embedder_and_says_so_and_can_be_ended(config, words):
    async with open_database(config) as db:
        await fill(db)
        before = content(db)
        words.broken = True
        await db.vectors.reindex("c", "many")
        await until(lambda: db.vectors.reindex_of("c").state == "waiting")
        assert "503" in db.vectors.reindex_of("c").error
        with pytest.raises(AlreadyExists):
            await db.vectors.reindex("c", "same")
        # Rows without a text that come meanwhile hold it up, too.
        words.broken = False
        await db.vectors.upsert("c", "bare", [1] * FEW)
        await until(lambda: "text" in (db.vectors.reindex_of("c").error or ""))
        await db.vectors.end_reindex("c")
        assert db.vectors.reindex_of("c") is None
        await db.vectors.delete("c", "bare")
        assert content(db) == before
        assert directories(config) == ["c"]
        assert await db.vectors.end_reindex("c") is None
        await db.vectors.reindex("c", "many")
        await done(db)
        assert content(db) == (before[0], MANY)


async def test_a_dropped_collection_ends_its_job(config, words):
    async with open_database(config) as db:
        await fill(db)
        words.may_answer.clear()
        await db.vectors.reindex("c", "many")
        await db.vectors.drop("c")
        words.may_answer.set()
        assert directories(config) == []
        await db.vectors.create("c", dim=3)
        assert db.vectors.reindex_of("c") is None


async def test_a_start_goes_on_with_a_job(config, words):
    async with open_database(config) as db:
        await fill(db, 300)
        before, _ = content(db)
        await db.vectors.reindex("c", "many")
        await until(lambda: db.vectors.reindex_progress("c")[0] >= 128)
        words.broken = True
    words.broken = False
    words.texts.clear()
    async with open_database(config) as db:
        assert db.vectors.find("c").spec.dim == FEW
        await done(db)
        assert content(db) == (before, MANY)
    assert 0 < len(words.texts) <= 300 - 128


async def test_a_start_does_not_go_on_with_another_model(config, words):
    async with open_database(config) as db:
        await fill(db)
        words.broken = True
        await db.vectors.reindex("c", "many")
    words.broken = False
    other = attrs.evolve(config, embedders={"many": words.settings("other", MANY)})
    async with open_database(other) as db:
        await until(lambda: db.vectors.reindex_of("c").state == "failed")
        assert "many" in db.vectors.reindex_of("c").error
        await db.vectors.reindex("c", "many")
        await done(db)
        assert content(db)[1] == MANY


def lose_all_but_the_log(directory):
    shutil.rmtree(directory / "vectors")
    for file in directory.glob("state-*"):
        file.unlink()


async def test_the_log_alone_brings_the_same_and_streams_what_happened(config):
    async with open_database(config) as db:
        await fill(db)
        await db.vectors.reindex("c", "many")
        await done(db)
        await db.vectors.delete("c", "v1")
        await db.vectors.reindex("c", "same")
        await done(db)
        await db.vectors.upsert("c", "new", text="new")
        wanted = content(db)
        events = await collect(db, 2, types=("vector_collection_reindexed",), since=0)
    shown = [envelope["data"] for _, _, envelope in events]
    assert [(each["collection"], each["dim"]) for each in shown] == [("c", MANY), ("c", FEW)]
    lose_all_but_the_log(Path(config.storage.data_dir))
    async with open_database(config) as db:
        assert content(db) == wanted
        assert directories(config) == ["c"]


async def test_backups_hold_one_of_both(config, tmp_path, words):
    async def take(db):
        return b"".join([block async for block in db.backup()])

    tars = []
    async with open_database(config) as db:
        await fill(db, 20)
        wanted, _ = content(db)
        await db.vectors.reindex("c", "many")
        while db.vectors.reindex_of("c") is not None:
            tars.append(await take(db))
        tars.append(await take(db))
    dims = []
    for number, tar in enumerate(tars[-4:]):
        place = tmp_path / f"restored-{number}"
        backup.unpack(io.BytesIO(tar), tmp_path / f"backup-{number}")
        backup.restore(tmp_path / f"backup-{number}", place)
        again = attrs.evolve(config, storage=Storage(data_dir=str(place)))
        async with open_database(again) as db:
            found, dim = content(db)
            assert found == wanted
            dims.append(dim)
    assert dims[-1] == MANY
