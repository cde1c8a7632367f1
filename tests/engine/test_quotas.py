"""Quotas: what a scope holds is known exactly, at any time, and never grows over the limit."""

import attrs
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.config import Config, State, Storage
from kissvdb.core.grants import Grants
from kissvdb.core.quotas import NOTHING, Amount, KeyLimits, key_bytes
from kissvdb.core.rows.rules import Delete as DeleteVector
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.state.rules import Delete, Precondition, Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.opening import open_database
from kissvdb.engine.quotas import quotas as counting
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import KissError, QuotaExceeded, RevisionMismatch, StillCounting


@attrs.frozen
class Key:
    limits: KeyLimits | None
    grants: Grants | None = None


def memory(shards=1):
    return open_database(Config(storage=Storage(memory=True), state=State(shards=shards)))


def limit(db, grants=None, **limits):
    db.quotas.refresh({"k": Key(KeyLimits(**limits), grants)})


async def counted(db):
    for _ in range(1000):
        found = db.quotas.used("k")
        if found is not None:
            return found
        await trio.sleep(0.001)
    raise AssertionError("it is never counted")


async def truth(db, prefix):
    page = await db.list(prefix, limit=100_000)
    amounts = [Amount(1, key_bytes(item.key, item.value)) for item in page.items]
    return sum(amounts, NOTHING)


async def test_a_write_over_the_quota_is_refused_before_it_is_logged():
    async with memory() as db:
        limit(db, Grants(keys=("a:*",)), rows_max=2, bytes_max=30)
        await db.put("a:1", 1)
        await db.put("a:2", 2)
        before = db.last_offset
        with pytest.raises(QuotaExceeded) as refused:
            await db.put("a:3", 3)
        assert refused.value.quota == {"what": "rows", "used": 2, "asked": 1, "limit": 2}
        with pytest.raises(QuotaExceeded) as refused:
            await db.put("a:1", "x" * 100)
        assert refused.value.quota["what"] == "bytes"
        assert db.last_offset == before
        # Others are not counted, and what is there may change and go.
        await db.put("b:1", "x" * 1000)
        await db.put("a:1", 9)
        await db.delete("a:2")
        await db.put("a:3", 3)
        assert db.quotas.used("k") == await truth(db, "a:")


async def test_many_writers_at_once_never_get_over_it():
    async with memory(shards=4) as db:
        limit(db, Grants(keys=("a:*",)), rows_max=10)
        outcomes = []

        async def put(n):
            try:
                await db.put(f"a:{n}", n)
                outcomes.append("done")
            except QuotaExceeded:
                outcomes.append("refused")

        async with trio.open_nursery() as writers:
            for n in range(100):
                writers.start_soon(put, n)
        assert outcomes.count("done") == 10
        assert db.quotas.used("k").rows == (await truth(db, "a:")).rows == 10


async def test_a_batch_is_refused_whole_and_leaves_no_trace_in_the_count():
    async with memory(shards=4) as db:
        limit(db, rows_max=3)
        with pytest.raises(QuotaExceeded):
            await db.batch(Batch(tuple(Put(f"k{n}", b"1") for n in range(4)), ()))
        assert db.quotas.used("k") == NOTHING
        await db.batch(Batch(tuple(Put(f"k{n}", b"1") for n in range(3)), ()))
        with pytest.raises(QuotaExceeded):
            await db.put("more", 1)


async def test_what_one_owner_makes_room_for_in_a_batch_is_let_in():
    async with memory() as db:
        limit(db, rows_max=1)
        await db.put("old", 1)
        await db.batch(Batch((Delete("old"), Put("new", b"1")), ()))
        assert db.quotas.used("k") == await truth(db, "")
        with pytest.raises(QuotaExceeded):
            await db.batch(Batch((Put("newer", b"1"), Delete("new")), ()))


async def test_a_write_that_is_refused_for_something_else_takes_no_room():
    async with memory() as db:
        limit(db, rows_max=1)
        for _ in range(3):
            with pytest.raises(RevisionMismatch):
                await db.put("k", 1, if_revision=7)
        await db.put("k", 1)
        assert db.quotas.used("k").rows == 1


async def test_what_expires_makes_room_when_it_has_gone_from_the_log():
    async with memory() as db:
        limit(db, rows_max=1)
        await db.put("k", 1, ttl_ms=20)
        with trio.fail_after(20):
            while True:
                try:
                    await db.put("other", 1)
                    break
                except QuotaExceeded:
                    await trio.sleep(0.02)
        assert db.quotas.used("k") == await truth(db, "")


async def test_vectors_count_by_row_and_their_bytes_until_a_vacuum():
    async with memory() as db:
        await db.vectors.create("v_mine", dim=4, metric="dot")
        await db.vectors.create("others", dim=4, metric="dot")
        limit(db, Grants(vectors=("v_*",)), rows_max=2)
        row = Upsert("1", bytes(16), b"{}")

        async def write(command, collection="v_mine"):
            return await db.write(VectorCommand(collection, command))

        await write(row)
        await write(row)
        assert db.quotas.used("k").rows == 1
        await write(msgspec.structs.replace(row, id="2"))
        with pytest.raises(QuotaExceeded):
            await write(msgspec.structs.replace(row, id="3"))
        await write(msgspec.structs.replace(row, id="3"), "others")
        await write(DeleteVector("1"))
        await write(msgspec.structs.replace(row, id="3"))
        assert db.quotas.used("k").rows == 2
        limit(db, Grants(vectors=("v_*",)), bytes_max=db.quotas.used("k").bytes)
        with pytest.raises(QuotaExceeded, match="bytes"):
            await write(row)


async def test_a_batch_over_keys_and_vectors_counts_both():
    async with memory() as db:
        await db.vectors.create("v", dim=4, metric="dot")
        limit(db, rows_max=2)
        vectors = [VectorCommand("v", Upsert(str(n), bytes(16))) for n in range(2)]
        with pytest.raises(QuotaExceeded):
            await db.batch(Batch((Put("k", b"1"), *vectors), ()))
        assert db.quotas.used("k") == NOTHING
        await db.batch(Batch((Put("k", b"1"), vectors[0]), ()))
        assert db.quotas.used("k").rows == 2


async def test_a_count_goes_on_while_keys_are_written(monkeypatch):
    monkeypatch.setattr(counting, "AT_ONCE", 3)
    async with memory(shards=2) as db:
        for n in range(40):
            await db.put(f"a:{n:02}", n)
        limit(db, Grants(keys=("a:*", "b", "a:1*")), rows_max=1000)
        with pytest.raises(StillCounting, match="still being counted"):
            await db.put("a:new", 1)
        # Deletes are let in meanwhile, whether or not they were counted yet.
        for n in range(0, 40, 3):
            await db.delete(f"a:{n:02}")
        await counted(db)
        await db.put("b", 1)
        assert db.quotas.used("k") == await truth(db, "")


async def test_it_is_right_after_a_restart(tmp_path):
    config = Config(storage=Storage(data_dir=str(tmp_path)))
    async with open_database(config) as db:
        limit(db, rows_max=100)
        await db.put("a", 1)
        await db.put("a", "longer")
        await db.put("b", 1)
        await db.delete("b")
        before = db.quotas.used("k")
    async with open_database(config) as db:
        limit(db, rows_max=100)
        assert await counted(db) == before == await truth(db, "")


async def test_a_key_that_goes_takes_its_quota_with_it():
    async with memory() as db:
        limit(db, rows_max=0)
        with pytest.raises(QuotaExceeded):
            await db.put("k", 1)
        db.quotas.refresh({})
        await db.put("k", 1)


NAMES = st.sampled_from(["a:1", "a:2", "a:3", "doc:n:1", "doc:m:1", "b"])
WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(0, 10**6)),
        st.tuples(st.just("delete"), NAMES, st.just(0)),
        st.tuples(st.just("create"), NAMES, st.just(1)),
        st.tuples(st.just("batch"), st.lists(NAMES, max_size=4, unique=True), st.just(2)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(writes=WRITES, rows_max=st.integers(0, 4))
async def test_whatever_is_written_the_count_is_the_truth(writes, rows_max):
    grants = Grants(keys=("a:*",), documents=("n",))
    async with memory(shards=2) as db:
        limit(db, grants, rows_max=rows_max)
        for kind, name, value in writes:
            try:
                if kind == "put":
                    await db.put(name, value)
                elif kind == "delete":
                    await db.delete(name)
                elif kind == "create":
                    await db.write(Put(name, b"1", precondition=Precondition(absent=True)))
                elif name:
                    await db.batch(Batch(tuple(Put(each, b"22") for each in name), ()))
            except KissError:
                pass
            found = db.quotas.used("k")
            real = await truth(db, "a:") + await truth(db, "doc:n:")
            assert found == real
            assert found.rows <= rows_max
