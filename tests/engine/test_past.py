"""What keys were at an offset: against a model that remembers everything."""

from contextlib import suppress

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kissvdb import records
from kissvdb.config import Config, Log, Search, State, Storage, Stream
from kissvdb.core.state.rules import Delete, Patch, Publish, Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.opening import open_database
from kissvdb.engine.owner import Hold
from kissvdb.engine.state import past
from kissvdb.errors import InvalidArgument, PastTruncated
from kissvdb.records import Item, KeyDeleted, KeyWritten

KEYS = ["a", "a:b", "a:b:c", "b", "\u00e9:x"]
IN_MEMORY = Config(
    storage=Storage(memory=True), search=Search(compile=False), state=State(shards=2)
)

commands = st.one_of(
    st.builds(Put, st.sampled_from(KEYS), st.sampled_from([b"1", b'{"x":2}']), st.just(None)),
    st.builds(Put, st.sampled_from(KEYS), st.just(b"3"), st.sampled_from([5, 40])),
    st.builds(Patch, st.sampled_from(KEYS), st.just(b'{"y":1}')),
    st.builds(Delete, st.sampled_from(KEYS)),
    st.builds(Publish, st.just("e"), st.just(b"0")),
)
steps = st.lists(
    st.one_of(commands, st.lists(commands, min_size=1, max_size=4), st.integers(1, 30)),
    min_size=1,
    max_size=40,
)


class Model:
    """Every key at every offset, from the records as they came."""

    def __init__(self):
        self.offset = 0
        self.ts_ms = [0]
        self.keys = [{}]
        self.changes = []

    def follow(self, log):
        """Take over what is new in the log."""
        for each in log.read(self.offset, bytes_max=10**6):
            record = records.decode(each.payload)
            keys = dict(self.keys[-1])
            if isinstance(record, KeyWritten):
                keys[record.key] = Item(
                    record.key, record.value, record.revision, each.offset, record.expires_at_ms
                )
                self.changes.append((each.offset, record.key))
            elif isinstance(record, KeyDeleted):
                del keys[record.key]
                self.changes.append((each.offset, record.key))
            self.keys.append(keys)
            self.ts_ms.append(each.ts_ms)
            self.offset = each.offset
        assert len(self.keys) == self.offset + 1

    def get(self, key, at):
        item = self.keys[at].get(key)
        if item is None or item.expires_at_ms is None or item.expires_at_ms > self.ts_ms[at]:
            return item
        return None

    def page(self, prefix, at):
        found = [self.get(key, at) for key in KEYS if key.startswith(prefix)]
        return sorted((item for item in found if item is not None), key=lambda each: each.key)

    def may_be_lost(self, key, at, first_offset):
        """Whether a log from ``first_offset`` on cannot tell."""
        if at + 1 < first_offset:
            return True
        item = self.keys[at].get(key)
        return item is not None and item.offset < first_offset


async def run(database, clock, history, model):
    for step in history:
        if isinstance(step, int):
            clock[0] += step
        elif isinstance(step, list):
            await database.batch(Batch(step))
        else:
            await database.write(step)
        model.follow(database._store.log)


async def get_or_check(database, model, key, at):
    """Reads the key, and checks that what is refused cannot be told."""
    first = database._store.log.first_offset
    try:
        return await database.past.get(key, at)
    except PastTruncated as refusal:
        oldest = refusal.oldest
    assert model.may_be_lost(key, at, first)
    assert oldest > at
    assert await database.past.get(key, oldest) == model.get(key, oldest)
    return "lost"


async def pages_or_check(database, model, prefix, at, limit):
    """Reads the whole list, page by page, with the same check."""
    try:
        return await pages(database, prefix, at, limit)
    except PastTruncated as refusal:
        oldest = refusal.oldest
    assert oldest > at
    # Of the page that was refused: the whole list may reach less far back.
    with suppress(PastTruncated):
        assert await pages(database, prefix, oldest, 100) == model.page(prefix, oldest)
    return "lost"


async def pages(database, prefix, at, limit):
    found, after = [], None
    while True:
        page = await database.past.page(prefix, limit, after, at)
        assert page.offset == at
        assert len(page.items) <= limit
        found += page.items
        if page.cursor is None:
            return found
        after = page.cursor


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
@given(history=steps, ring_events=st.sampled_from([16, 10_000]), data=st.data())
async def test_every_key_and_list_is_as_it_was_or_the_log_cannot_tell(history, ring_events, data):
    clock, model = [1000], Model()
    config = attrs.evolve(IN_MEMORY, stream=Stream(ring_events=ring_events))
    async with open_database(config, clock_ms=lambda: clock[0]) as database:
        await run(database, clock, history, model)
        if not model.offset:
            return
        lost = 0
        for at in {data.draw(st.integers(0, model.offset)) for _ in range(6)}:
            answers = {key: await get_or_check(database, model, key, at) for key in KEYS}
            lost += "lost" in answers.values()
            for key, found in answers.items():
                assert found == "lost" or found == model.get(key, at), (key, at)
            prefix = data.draw(st.sampled_from(["", "a", "a:b"]))
            limit = data.draw(st.integers(1, 6))
            found = await pages_or_check(database, model, prefix, at, limit)
            lost += found == "lost"
            assert found == "lost" or found == model.page(prefix, at), (prefix, at)
        assert not lost or ring_events == 16


async def test_a_log_in_segments_tells_as_far_as_it_reaches_also_after_a_restart(tmp_path):
    config = attrs.evolve(
        IN_MEMORY,
        storage=Storage(data_dir=str(tmp_path)),
        log=Log(segment_max_bytes=1024 * 1024, retention_segments=1),
    )
    value = b'"%b"' % (b"x" * 60_000)
    model = Model()
    async with open_database(config) as database:
        history = [Put("old", b"1"), Put("kept", b"1"), Delete("kept"), Put("kept", b"2")]
        await run(database, [0], history, model)
    # Another epoch of the process; offsets go on.
    async with open_database(config) as database:
        assert await database.past.get("kept", 2) == model.get("kept", 2)
        assert await database.past.get("kept", 3) is None
        await run(database, [0], [Put("big", value) for _ in range(40)], model)
        await database.put("old", 2)
        model.follow(database._store.log)
        await database.snapshot()
        first = database._store.log.first_offset
        assert first > 5
        # Never changed since: the table knows.
        assert await database.past.get("kept", 4) == model.get("kept", 4)
        with pytest.raises(PastTruncated, match="begins at offset") as refusal:
            await database.past.get("old", first)
        assert refusal.value.oldest == model.offset
        assert (await database.past.get("old", model.offset)).value == b"2"
        found = await database.past.get("big", first + 3)
        assert (found.offset, found.value) == (first + 3, value)
        with pytest.raises(InvalidArgument, match="not there yet"):
            await database.past.get("old", model.offset + 1)


async def test_while_one_shard_waits_another_remembers_as_well():
    async with open_database(IN_MEMORY) as database:
        for key in KEYS:
            await database.put(key, 1)
        at = database.last_offset
        for owner in database._state.owners:
            held = await owner.ask(Hold(()))
            mine = [key for key in KEYS if database._state.route(Delete(key))[0] is not owner]
            for n, key in enumerate(mine):
                await database.write(Delete(key) if n % 2 else Put(key, b"2"))
            for key in KEYS:
                found = await database.past.get(key, at)
                assert (found.value, found.revision) == (b"1", 1)
            page = await database.past.page("", 10, None, at)
            assert [each.key for each in page.items] == sorted(KEYS)
            held.release()


async def test_a_list_of_more_changed_keys_than_are_kept_is_told_page_by_page(monkeypatch):
    monkeypatch.setattr(past, "CHANGED_KEYS_MAX", 7)
    monkeypatch.setattr(past, "WINDOW_OFFSETS", 5)
    monkeypatch.setattr(past, "PIECE_BYTES", 100)
    async with open_database(IN_MEMORY) as database:
        for n in range(40):
            await database.put(f"k{n:02}", n)
        at = database.last_offset
        for n in range(0, 40, 2):
            await database.delete(f"k{n:02}")
        for n in range(60, 90):
            await database.put(f"k{n:02}", n)
        found = await pages(database, "k", at, 6)
        assert [each.key for each in found] == [f"k{n:02}" for n in range(40)]
        assert [each.offset for each in found] == list(range(1, 41))
