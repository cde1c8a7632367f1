"""Puts of many askers that are decided together do, and answer, what each alone does."""

import errno
import random

import attrs
import pytest

from actors import Address
from actors.mailbox import Mailbox
from kissvdb.config import Config, Log, State, Storage
from kissvdb.core.grants import Grants
from kissvdb.core.quotas import NOTHING, Growth, KeyLimits, Ledger
from kissvdb.core.state.rules import Delete, Put, StateBatch, Written
from kissvdb.engine.asking import answered
from kissvdb.engine.opening import open_database
from kissvdb.engine.state.gathered import TOGETHER_MAX, Gathered, Gathering
from kissvdb.errors import Damaged, Overloaded, PersistenceFailed, QuotaExceeded, Stopping
from kissvdb.records import Item
from kissvdb.telemetry.parts import Parts

IN_MEMORY = Config(storage=Storage(memory=True))
KEYS = [f"k{number}" for number in range(12)]


async def tell(replies):
    outcomes = []
    for reply in replies:
        try:
            outcomes.append(await answered(reply))
        except (PersistenceFailed, Overloaded, Stopping) as refusal:
            outcomes.append(refusal)
    return outcomes


async def test_they_are_decided_logged_answered_and_read_like_single_ones():
    now_ms = [1_000]
    clock = {"clock_ms": lambda: now_ms[0]}
    drawn = random.Random(12)
    async with open_database(IN_MEMORY, **clock) as one, open_database(IN_MEMORY, **clock) as many:
        for _ in range(40):
            # What others ask for meanwhile: lives that end, and keys that go.
            for key in drawn.sample(KEYS, 2):
                other = drawn.choice([Delete(key), Put(key, b"0", drawn.choice([None, 5, 50]))])
                assert await one.write(other) == await many.write(other)
            now_ms[0] += drawn.randrange(20)
            puts = [(drawn.choice(KEYS), b"%d" % drawn.randrange(99)) for _ in range(8)]
            alone = await tell([one.submit(Put(key, value)) for key, value in puts])
            together = await tell([many.put_soon(key, value) for key, value in puts])
            assert together == alone
            assert all(type(each) is Written for each in together)
        assert [one.get(key) for key in KEYS] == [many.get(key) for key in KEYS]
        logs = [db._store.log.read(0, bytes_max=2**30) for db in (one, many)]
        assert logs[0] == logs[1]
        assert len(logs[0]) > 320


async def test_a_message_takes_puts_until_it_is_decided_or_full():
    async with open_database(IN_MEMORY) as db:
        address = db._state.owners[0]
        replies = [db.put_soon(f"k{number}", b"1") for number in range(TOGETHER_MAX + 10)]
        assert address.statistics().depth == 2
        await tell(replies)
        # The next one is not told to a message that was decided.
        assert await answered(db.put_soon("k0", b"2")) == Written("k0", 2, TOGETHER_MAX + 11)


async def test_who_leaves_changes_nothing_for_others():
    async with open_database(IN_MEMORY) as db:
        replies = [db.put_soon(key, b"1") for key in KEYS]
        called = []
        replies[0].abandon()
        replies[1].call(lambda: called.append(replies[1].take()))
        await tell(replies[2:])
        assert called == [Written(KEYS[1], 1, 2)]
        assert db.get(KEYS[0]).value == b"1"


async def test_no_more_wait_than_the_mailbox_has_room_for():
    config = attrs.evolve(IN_MEMORY, state=State(mailbox_size=5))
    async with open_database(config) as db:
        replies = [db.put_soon(key, b"1") for key in KEYS[:5]]
        with pytest.raises(Overloaded, match="retry"):
            db.put_soon(KEYS[5], b"1")
        await tell(replies)
        await answered(db.put_soon(KEYS[5], b"1"))


async def test_several_owners_and_requests_that_are_watched_have_messages_of_their_own():
    async with open_database(attrs.evolve(IN_MEMORY, state=State(shards=2))) as db:
        assert db.put_soon("k", b"1") is None
    async with open_database(IN_MEMORY) as db:
        assert Parts().during(db.put_soon, "k", b"1") is None


async def test_a_full_disk_refuses_each_for_itself(tmp_path, monkeypatch):
    config = Config(storage=Storage(data_dir=str(tmp_path)), log=Log(io_uring=False))

    def refuse(data, at):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with open_database(config) as db:
        with monkeypatch.context() as patch:
            patch.setattr(db._store.log._log._file, "write_durable", refuse)
            refused = await tell([db.put_soon(key, b"1") for key in KEYS])
        assert [type(each) for each in refused] == [PersistenceFailed] * len(KEYS)
        assert len(set(map(id, refused))) == len(KEYS)
        assert all(db.get(key) is None for key in KEYS)
        assert await answered(db.put_soon("k", b"1")) == Written("k", 1, 1)


async def test_nobody_hangs_when_the_owner_is_gone():
    mailbox = Mailbox("state", 4)
    gathering = Gathering(Address(mailbox))
    waiting = [gathering.put("a", b"1"), gathering.put("b", b"1")]
    mailbox.close()
    mailbox.refuse_all(lambda delivered: Stopping("gone"))
    assert [type(each) for each in await tell(waiting)] == [Stopping] * 2
    with pytest.raises(Stopping):
        gathering.put("c", b"1")


def decided(batch, puts):
    gathered = Gathered(lambda count: None)
    for key, value in puts:
        gathered.join(key, value)
    return gathered.decide(batch)


def test_a_quota_refuses_only_what_is_too_much():
    ledger = Ledger(KeyLimits(bytes_max=5), Grants(keys=("k*",)), lambda grants: NOTHING)
    ledger.ready = True
    batch = StateBatch(lambda key: None, lambda op_id: None, 0)
    batch.growth = Growth([ledger])
    outcomes = decided(batch, [("k1", b"1"), ("k2", b"1"), ("other", b"1")])
    assert [type(each) is QuotaExceeded for each in outcomes] == [False, True, False]
    assert [each.key for each in batch.records] == ["k1", "other"]


def test_a_damaged_page_refuses_only_what_is_on_it():
    def lookup(key):
        if key == "bad":
            raise Damaged("the page is not what was written")
        # Its life has ended: those are decided one by one.
        return Item(key, b"0", 3, 1, 5)

    batch = StateBatch(lookup, lambda op_id: None, 10)
    outcomes = decided(batch, [("a", b"1"), ("bad", b"1"), ("c", b"1")])
    assert [type(each) is Damaged for each in outcomes] == [False, True, False]
    assert [each.key for each in batch.records] == ["a", "a", "c", "c"]
