"""Keys as a model: what they may, how they end, and that no crash, backup or checkpoint loses one
or brings one back."""

import stat
from pathlib import Path

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Config, Limits, Log, Server, Storage
from kissvdb.core.events.publishing import StreamQuery
from kissvdb.core.grants import Grants
from kissvdb.core.keys.view import EXPIRED_KEPT_MS, REVOKED_KEPT
from kissvdb.engine.opening import open_database
from kissvdb.engine.owner import Expire
from kissvdb.engine.stream.subscription import Lease
from kissvdb.errors import (
    Damaged,
    InvalidArgument,
    NotFound,
    Refused,
    ServerKeyMissing,
    Unauthorized,
)
from kissvdb.records import ApiKeyRevoked
from kissvdb.storage import backup
from kissvdb.storage.check import check
from kissvdb.storage.keys import KEYS_NAME, SALT_NAME
from tests.engine.sse import collect, parse
from tests.patience import PATIENCE_SECS

GUARDED = Server(api_key="s3cret")
IN_MEMORY = Config(server=GUARDED, storage=Storage(memory=True))


class Time:
    """A clock that is set."""

    def __init__(self):
        self.now_ms = 1_700_000_000_000

    def __call__(self):
        return self.now_ms


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def config(tmp_path):
    return Config(server=GUARDED, storage=Storage(data_dir=str(tmp_path / "data")))


def name_of(db, text):
    """Whose key it is; None: it never was one. Raises what ended it."""
    found = db.keys.authenticate(text)
    return None if found is None else found[0].record.name


def ended(db, text):
    with pytest.raises(Unauthorized) as refusal:
        db.keys.authenticate(text)
    return refusal.value.message


async def test_a_key_works_until_it_is_revoked():
    async with open_database(IN_MEMORY) as db:
        first = await db.keys.issue("first", "read", scopes=Grants(keys=("a:*",)))
        other = await db.keys.issue("other", "admin")
        assert first.text.startswith(f"rk_live_{first.record.id}_")
        assert (name_of(db, first.text), name_of(db, other.text)) == ("first", "other")
        issued, _ = db.keys.authenticate(first.text)
        assert (issued.record.role, issued.grants) == ("read", Grants(keys=("a:*",)))
        for wrong in (first.text[:-1], first.text + "0", "rk_live_", "", "s3cret", "\udce9é"):
            assert name_of(db, wrong) is None
        assert name_of(db, first.text.replace(first.record.id, other.record.id)) is None
        await db.keys.revoke(first.record.id)
        assert "revoked" in ended(db, first.text)
        assert name_of(db, first.text[:-1]) is None, "who does not know it learns nothing"
        assert name_of(db, other.text) == "other"
        with pytest.raises(NotFound):
            await db.keys.revoke(first.record.id)
        with pytest.raises(NotFound):
            await db.keys.rotate(first.record.id)


async def test_a_key_ends_when_it_was_told_to(time):
    async with open_database(IN_MEMORY, clock_ms=time) as db:
        made = await db.keys.issue("short", "read", ttl_ms=1000)
        assert made.record.expires_at_ms == time.now_ms + 1000
        for over in ({"expires_at_ms": time.now_ms}, {"ttl_ms": 0}):
            with pytest.raises(InvalidArgument, match="is over"):
                await db.keys.issue("late", "read", **over)
        time.now_ms += 999
        assert name_of(db, made.text) == "short"
        time.now_ms += 1
        assert "expired" in ended(db, made.text)
        with pytest.raises(InvalidArgument, match="ttl_ms"):
            await db.keys.rotate(made.record.id)
        again = await db.keys.rotate(made.record.id, ttl_ms=1000)
        assert name_of(db, again.text) == "short"


async def test_a_rotated_key_has_one_secret_or_two_for_a_while(time):
    async with open_database(IN_MEMORY, clock_ms=time) as db:
        first = await db.keys.issue("k", "read", expires_at_ms=time.now_ms + 10_000)
        id_ = first.record.id
        second = await db.keys.rotate(id_)
        assert (second.record.id, second.record.name) == (id_, "k")
        assert "another secret" in ended(db, first.text)
        third = await db.keys.rotate(id_, grace_ms=1000)
        assert name_of(db, second.text) == name_of(db, third.text) == "k"
        assert name_of(db, first.text) is None
        time.now_ms += 1000
        assert "another secret" in ended(db, second.text)
        assert name_of(db, third.text) == "k"
        time.now_ms += 9000
        assert "expired" in ended(db, third.text), "a rotation does not lengthen its life"


async def test_nobody_is_locked_out_and_nobody_let_in_by_mistake(tmp_path):
    storage = Storage(data_dir=str(tmp_path / "data"))
    open_, guarded = Config(storage=storage), Config(server=GUARDED, storage=storage)
    async with open_database(open_) as db:
        with pytest.raises(ServerKeyMissing, match="api_key"):
            await db.keys.issue("first", "admin")
        assert db.last_offset == 0
    async with open_database(guarded) as db:
        first = await db.keys.issue("first", "admin")
    async with open_database(open_) as db:
        second = await db.keys.issue("second", "read")
        await db.keys.revoke(first.record.id)
        with pytest.raises(ServerKeyMissing, match="last"):
            await db.keys.revoke(second.record.id)
    async with open_database(guarded) as db:
        await db.keys.revoke(second.record.id)
        assert not db.keys.view.keys


async def test_there_are_no_more_keys_than_configured():
    config = attrs.evolve(IN_MEMORY, limits=Limits(keys_max=2))
    async with open_database(config) as db:
        made = [await db.keys.issue(name, "read") for name in "ab"]
        with pytest.raises(Refused, match=r"limits\.keys_max"):
            await db.keys.issue("c", "read")
        await db.keys.revoke(made[0].record.id)
        await db.keys.issue("c", "read")


async def test_an_expired_key_is_forgotten_after_a_day_but_not_the_last(time):
    async with open_database(IN_MEMORY, clock_ms=time) as db:
        for name in "ab":
            await db.keys.issue(name, "read", ttl_ms=1)
        time.now_ms += EXPIRED_KEPT_MS
        await db.keys._address.ask(Expire())
        assert len(db.keys.view.keys) == 2
        time.now_ms += 1
        await db.keys._address.ask(Expire())
        assert len(db.keys.view.keys) == 1
        events = await collect(db, 3)
        assert (events[2][0], events[2][2]["data"]["reason"]) == ("api_key_revoked", "expired")


async def test_revoked_keys_are_remembered_up_to_a_bound():
    async with open_database(IN_MEMORY) as db:
        view = db.keys.view
        made = await db.keys.issue("k", "read")
        await db.keys.revoke(made.record.id)
        for number in range(REVOKED_KEPT):
            view.apply(number, msgspec.structs.replace(made.record, id=str(number)))
            view.apply(number, ApiKeyRevoked(str(number), "explicit"))
        assert len(view.revoked) == REVOKED_KEPT
        assert name_of(db, made.text) is None


SCOPES = Grants(keys=("a:*",), routes=("GET /v1/state*",))


async def test_keys_survive_a_restart_a_checkpoint_and_a_log_that_is_cut(config, time):
    log = Log(segment_max_bytes=2**20, retention_segments=1)
    config = attrs.evolve(config, log=log)
    async with open_database(config, clock_ms=time) as db:
        kept = await db.keys.issue("kept", "read", scopes=SCOPES, permissions=b'{"team":1}')
        gone = await db.keys.issue("gone", "write")
        await db.keys.revoke(gone.record.id)
        name_of(db, kept.text)
        await db.snapshot()
    for _ in range(2):
        async with open_database(config, clock_ms=time) as db:
            issued, _ = db.keys.authenticate(kept.text)
            assert (issued.record, issued.grants) == (kept.record, SCOPES)
            assert db.keys.last_used_ms[kept.record.id] == time.now_ms
            assert "revoked" in ended(db, gone.text)
            # Enough for the log to let go of what it says of keys.
            for number in range(40):
                await db.put(f"k{number}", "x" * 60_000)
            await db.snapshot()
            assert db._store.log.first_offset > gone.offset + 1


async def test_a_record_of_a_key_stays_in_the_log_until_the_file_has_it(config):
    config = attrs.evolve(config, log=Log(segment_max_bytes=2**20, retention_segments=1))
    async with open_database(config) as db:
        made = await db.keys.issue("k", "read")
        assert db.keys.durable_offset == made.offset - 1
        for number in range(40):
            await db.put(f"k{number}", "x" * 60_000)
        for target in db._models[0].targets():
            await target.save()
        await db._checkpoints.retain()
        assert db._store.log.first_offset <= made.offset
        await db.keys.save()
        assert db.keys.durable_offset == db.last_offset


async def test_what_is_issued_while_the_file_is_written_is_not_taken_for_written(config):
    async with open_database(config) as db:
        await db.keys.issue("first", "read")
        store, write = db.keys._store, db.keys._store.write
        begun = trio.Event()
        go_on = trio.Event()

        def slow(content):
            trio.from_thread.run_sync(begun.set)
            trio.from_thread.run(go_on.wait)
            write(content)

        store.write = slow
        with trio.fail_after(PATIENCE_SECS):
            async with trio.open_nursery() as tasks:
                tasks.start_soon(db.keys.save)
                await begun.wait()
                second = await db.keys.issue("second", "read")
                go_on.set()
        assert db.keys.durable_offset == second.offset - 1
        assert db.keys.save_is_due
        store.write = write
        await db.keys.save()
        assert db.keys.durable_offset == db.last_offset


async def test_the_files_are_for_the_server_alone_and_hold_no_secret(config):
    directory = Path(config.storage.data_dir)
    async with open_database(config) as db:
        assert not (directory / SALT_NAME).exists()
        made = await db.keys.issue("k", "read")
        assert (directory / SALT_NAME).exists(), (
            "before the key, or it would not work after a crash"
        )
        await db.snapshot()
    for name in (KEYS_NAME, SALT_NAME):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    random = made.text.rpartition("_")[2].encode()
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]  # noqa: ASYNC240
    assert not [path for path in files if random in path.read_bytes()]


async def test_a_backup_has_the_keys(config, tmp_path):
    async with open_database(config) as db:
        made = await db.keys.issue("k", "read", scopes=SCOPES)
        gone = await db.keys.issue("gone", "read")
        await db.keys.revoke(gone.record.id)
        blocks = [block async for block in db.backup()]
    copy = tmp_path / "copy"
    (tmp_path / "backup.tar").write_bytes(b"".join(blocks))
    backup.restore(tmp_path / "backup.tar", copy)
    assert stat.S_IMODE((copy / SALT_NAME).stat().st_mode) == 0o600
    restored = attrs.evolve(config, storage=Storage(data_dir=str(copy)))
    async with open_database(restored) as db:
        assert name_of(db, made.text) == "k"
        assert "revoked" in ended(db, gone.text)


async def test_a_damaged_file_stops_the_start_and_a_lost_salt_only_the_keys(config, caplog):
    directory = Path(config.storage.data_dir)
    async with open_database(config) as db:
        made = await db.keys.issue("k", "read")
        await db.snapshot()
    sound = (directory / KEYS_NAME).read_bytes()
    for damaged in (sound[:-1], sound[:30] + b"\xff" + sound[31:], b"", b"KKEY"):
        (directory / KEYS_NAME).write_bytes(damaged)
        with pytest.raises(Damaged, match=KEYS_NAME):
            async with open_database(config):
                pass
        assert KEYS_NAME in "".join(check(directory).problems)
    (directory / KEYS_NAME).write_bytes(sound)
    assert check(directory).ok
    salt = (directory / SALT_NAME).read_bytes()
    (directory / SALT_NAME).unlink()
    assert SALT_NAME in "".join(check(directory).problems)
    async with open_database(config) as db:
        assert name_of(db, made.text) is None
        assert "keys.salt is missing" in caplog.text
        again = await db.keys.rotate(made.record.id)
        assert name_of(db, again.text) == "k"
    (directory / SALT_NAME).write_bytes(salt[:-1])
    with pytest.raises(Damaged, match=SALT_NAME):
        async with open_database(config):
            pass


async def test_scopes_that_cannot_be_read_allow_nothing(config, caplog):
    async with open_database(config) as db:
        made = await db.keys.issue("k", "read", scopes=SCOPES)
        later = b'{"of_a_later_version":["a"]}'
        db.keys.view.apply(9, msgspec.structs.replace(made.record, scopes=later))
        issued, _ = db.keys.authenticate(made.text)
        assert issued.grants == Grants()
        assert "scopes" in caplog.text


async def test_only_admins_see_events_of_keys_and_never_a_hash():
    async with open_database(IN_MEMORY) as db:
        made = await db.keys.issue("k", "read", scopes=SCOPES)
        await db.keys.rotate(made.record.id, grace_ms=5)
        await db.keys.revoke(made.record.id)
        await db.put("a:1", 1)
        events = await collect(db, 4, private=True)
        assert [type_ for type_, _, _ in events] == [
            *("api_key_issued", "api_key_issued", "api_key_revoked", "state_updated")
        ]
        assert events[0][2]["data"] == {
            "id": made.record.id,
            "name": "k",
            "role": "read",
            "scopes": SCOPES.to_json(),
            "expires_at_ms": None,
            "rotated_at_ms": None,
        }
        assert events[2][2]["data"] == {"id": made.record.id, "reason": "explicit"}
        for query in ({"private": False}, {"grants": SCOPES}, {"grants": SCOPES, "private": True}):
            ((type_, _, _),) = await collect(db, 1, **query)
            assert type_ == "state_updated"


REVOKED = ("ended", None, {"reason": "revoked"})


def lease_of(db, text):
    issued, secret = db.keys.authenticate(text)
    return Lease(issued.record.id, secret)


async def frames_of(subscription):
    """All frames up to the end of the stream."""
    found = []
    with trio.fail_after(PATIENCE_SECS):
        async for blob in subscription:
            found += [frame for frame in parse(blob) if frame[0]]
    return found


async def test_streams_end_with_the_secret_they_were_opened_by(time):
    async with open_database(IN_MEMORY, clock_ms=time) as db:
        key = await db.keys.issue("k", "read")
        other = await db.keys.issue("other", "read")
        query = StreamQuery(since=None)
        streams = [db.subscribe(query, lease_of(db, made.text)) for made in (key, key, other)]
        streams.append(db.subscribe(query))
        results = {}

        async def read(number):
            results[number] = await frames_of(streams[number])

        async with trio.open_nursery() as tasks:
            for number in range(2):
                tasks.start_soon(read, number)
            await wait_all_tasks_blocked()
            await db.keys.revoke(key.record.id)
        assert results == {number: [REVOKED] for number in range(2)}
        assert db.hub.client_count == 2
        # One whose lease ended before it was opened.
        lease = Lease(key.record.id, key.record.hash)
        assert await frames_of(db.subscribe(query, lease)) == [REVOKED]
        rotated = await db.keys.rotate(other.record.id, grace_ms=1000)
        streams.append(db.subscribe(query, lease_of(db, rotated.text)))
        assert not streams[2].ended
        time.now_ms += 1000
        with trio.fail_after(PATIENCE_SECS):
            assert (await frames_of(streams[2]))[-1] == ("ended", None, {"reason": "rotated"})
        await db.keys.rotate(other.record.id)
        assert (await frames_of(streams[4]))[-1] == ("ended", None, {"reason": "rotated"})
        assert db.hub.client_count == 1


async def test_a_stream_that_ends_hands_out_nothing_that_comes_after(time):
    async with open_database(IN_MEMORY, clock_ms=time) as db:
        key = await db.keys.issue("k", "read", ttl_ms=1000)
        await db.put("before", 1)
        stream = db.subscribe(StreamQuery(private=False), lease_of(db, key.text))
        time.now_ms += 1000
        db.keys.changed()
        await db.put("after", 1)
        assert await frames_of(stream) == [("ended", None, {"reason": "expired"})]
