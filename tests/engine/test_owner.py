"""Owners that hold a batch: all of it becomes visible at once over all of them, or none does."""

from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import open_supervisor
from kissvdb.config import Config
from kissvdb.core.rows.owner import Rows
from kissvdb.core.rows.rules import Add, Delete, Upsert
from kissvdb.core.state.rules import Patch, Precondition, Put
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.documents.pending import DocumentTap
from kissvdb.engine.followers import Followers
from kissvdb.engine.log.memory import MemoryLog
from kissvdb.engine.log.writer import Append, LogWriter
from kissvdb.engine.owner import Expire, Held, Hold, Many
from kissvdb.engine.state.shard import StateShard
from kissvdb.engine.state.view import StateView
from kissvdb.engine.threads import threads_for
from kissvdb.engine.vectors.collection import Collection, CollectionContext
from kissvdb.errors import AlreadyExists, NotFound, RevisionMismatch
from kissvdb.metrics import Metrics
from kissvdb.storage.state.table import StateTable
from tests.core.row_world import PLAIN, SALT

SPEC = CollectionSpec("c", 1, "l2")
ONE = bytes(4)


@attrs.define(eq=False)
class Owners:
    """A state shard and a collection over one log in memory; ``now_ms`` is their time."""

    now_ms: int = 1000
    log_address: object = None
    writer: LogWriter = None
    shard: StateShard = None
    state: object = None
    collection: Collection = None
    vectors: object = None

    def clock_ms(self):
        return self.now_ms

    async def hold(self, owner, *commands) -> Held:
        return await owner.ask(Hold(commands))

    async def append(self, *helds):
        """Log what is held, in one append; returns the first offset of each."""
        records = [record for held in helds for record in held.records]
        offset = await self.log_address.ask(Append(records))
        firsts = []
        for held in helds:
            firsts.append(offset)
            offset += len(held.records)
        return firsts

    def value(self, key):
        item = self.shard.view.get(key)
        return None if item is None else item.value

    def vector(self, id_):
        return self.collection.view().get(id_)


@asynccontextmanager
async def running():
    owners = Owners()
    metrics = Metrics()
    log = MemoryLog(records_max=1000, bytes_max=10**6)
    async with log, open_supervisor() as supervisor:
        writer = owners.writer = LogWriter(log, Followers(), owners.clock_ms, metrics)
        owners.log_address = await supervisor.start(writer)

        def committed():
            return writer.committed_offset

        owners.shard = StateShard(
            StateView(StateTable(None)),
            owners.log_address,
            committed,
            owners.clock_ms,
            metrics,
            json_bytes_max=1000,
            mailbox_size=100,
            name="state-0",
            documents=DocumentTap(lambda: 0, 10),
        )
        owners.state = await supervisor.start(owners.shard)
        around = CollectionContext(
            owners.log_address, committed, owners.clock_ms, threads_for(Config()), metrics
        )
        owners.collection = Collection(Rows(SPEC, SALT, PLAIN), around)
        owners.vectors = await supervisor.start(owners.collection)
        yield owners
    owners.shard.view.table.close()


async def test_a_batch_over_two_owners_is_seen_whole_or_not_at_all():
    async with running() as owners:
        keys = await owners.hold(owners.state, Put("a", b"1"), Patch("a", b'{"x":1}'))
        rows = await owners.hold(owners.vectors, Add("v", ONE), Upsert("w", ONE))
        firsts = await owners.append(keys, rows)
        assert (owners.value("a"), owners.vector("v"), owners.vector("w")) == (None, None, None)
        # Neither claims to be where the log is.
        assert owners.writer.committed_offset == 4
        assert (owners.shard.true_offset, owners.collection.true_offset) == (0, 0)
        answers = keys.apply(firsts[0]) + rows.apply(firsts[1])
        assert owners.value("a") == b'{"x":1}'
        assert owners.vector("v").vector == owners.vector("w").vector == ONE
        assert [each.offset for each in answers] == [1, 2, 3, 4]
        assert (owners.shard.true_offset, owners.collection.true_offset) == (4, 4)


async def test_an_owner_that_holds_decides_nothing_else_until_it_is_over():
    async with running() as owners:
        held = await owners.hold(owners.state, Put("a", b"1"))
        answers = []

        async def write(key, condition):
            command = Put(key, b"2", precondition=condition)
            (answer,) = await owners.state.ask(Many((command,)))
            answers.append(answer)

        async with trio.open_nursery() as nursery:
            # It is decided on what the batch has made of the key.
            nursery.start_soon(write, "a", Precondition(revision=1))
            await wait_all_tasks_blocked()
            assert answers == []
            held.apply(*await owners.append(held))
        assert [each.revision for each in answers] == [2]
        assert owners.value("a") == b"2"


async def test_what_is_released_never_was():
    async with running() as owners:
        keys = await owners.hold(owners.state, Put("a", b"1"))
        rows = await owners.hold(owners.vectors, Upsert("v", ONE))
        rows.release()
        keys.release()
        assert (await owners.state.ask(Put("a", b"2"))).revision == 1
        assert (await owners.vectors.ask(Add("v", ONE))).offset == 2
        assert owners.value("a") == b"2"


async def test_one_refusal_refuses_all_and_nothing_is_held():
    async with running() as owners:
        await owners.state.ask(Put("a", b"1"))
        wrong = Put("a", b"2", precondition=Precondition(revision=7))
        with pytest.raises(RevisionMismatch):
            await owners.hold(owners.state, Put("b", b"1"), wrong)
        with pytest.raises(NotFound):
            await owners.hold(owners.vectors, Upsert("v", ONE), Delete("w"))
        assert (await owners.state.ask(Put("b", b"3"))).revision == 1
        await owners.vectors.ask(Add("v", ONE))
        with pytest.raises(AlreadyExists):
            await owners.hold(owners.vectors, Add("v", ONE))


async def test_an_operation_in_a_batch_is_done_once():
    async with running() as owners:
        command = Put("a", b"1", op_id="o")
        held = await owners.hold(owners.state, command)
        held.apply(*await owners.append(held))
        again = await owners.hold(owners.state, command)
        assert again.records == []
        (answer,) = again.apply(0)
        assert (answer.offset, answer.repeated) == (1, True)


async def test_who_leaves_before_it_is_held_leaves_the_owner_free():
    async with running() as owners:
        held = await owners.hold(owners.state, Put("a", b"1"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(owners.hold, owners.state, Put("b", b"1")))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        held.release()
        assert (await owners.state.ask(Put("b", b"2"))).revision == 1


async def test_expiry_is_one_message_for_every_owner():
    async with running() as owners:
        await owners.state.ask(Put("a", b"1", ttl_ms=10))
        await owners.vectors.ask(Upsert("v", ONE, ttl_ms=10))
        owners.now_ms += 10
        await owners.state.ask(Expire())
        await owners.vectors.ask(Expire())
        assert owners.writer.committed_offset == 4
        assert owners.shard.view.expired(owners.now_ms, 1) == []
        assert not owners.collection.expired()
