"""More keys than memory has room for: every way to read finds what a dict has."""

import io
import random
from functools import partial

import trio

from kissvdb.config import Config, Search, State, Storage
from kissvdb.core.state.rules import Delete, Put
from kissvdb.engine.asking import answered
from kissvdb.engine.opening import open_database
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.engine.state import view as state_view
from kissvdb.storage import backup

KEYS = 300
ROOM = 40_000
"""Bytes, for some hundred keys."""


def config_of(path):
    return Config(
        storage=Storage(data_dir=str(path)),
        search=Search(compile=False),
        state=State(cache_bytes=ROOM),
    )


def writes(chance, known):
    """Some commands; ``known`` is what they leave, of keys that do not end."""
    commands = []
    for _ in range(chance.randrange(1, 60)):
        key, number = f"k{chance.randrange(KEYS):03}", chance.randrange(1000)
        kind = chance.randrange(8)
        if kind == 0:
            known.pop(key, None)
            commands.append(Delete(key))
        elif kind == 1:
            known.pop(key, None)
            commands.append(Put(key, b"%d" % number, 1))
        else:
            known[key] = b"%d" % number
            commands.append(Put(key, known[key]))
    return commands


async def check(db, known):
    await trio.sleep(0.002)
    for number in range(KEYS):
        item = db.get(f"k{number:03}")
        assert (item and item.value) == known.get(f"k{number:03}")
    page = await db.list(limit=KEYS)
    assert {item.key: item.value for item in page.items} == known
    async with db.sql.reader(SqlQuery("SELECT key, value FROM state")) as rows:
        found = dict([row async for chunk in rows for row in chunk])
    assert {key: str(value).encode() for key, value in found.items()} == known


async def test_every_way_to_read_finds_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(state_view, "ENTRIES_MAX", 150)
    monkeypatch.setattr(state_view, "SEALED_ENTRIES", 40)
    chance, known = random.Random(15), {}
    async with open_database(config_of(tmp_path / "data")) as db:
        (shard,) = db.sources.state.shards
        for turn in range(30):
            await db.write_many(writes(chance, known))
            if turn % 5 == 0:
                await check(db, known)
            # A batch of columns, over keys that are in memory, in the table, or nowhere.
            keys = [f"k{chance.randrange(KEYS):03}" for _ in range(20)]
            await answered(db.put_many(keys, [b"7"] * 20))
            known |= dict.fromkeys(keys, b"7")
        await check(db, known)
        assert shard.view.table.applied_offset > 0, "nothing was stored"
        assert shard.view.cold_reads > 0
        # The past is as of the time of its newest record: by then all that ends has ended.
        await db.put("k000", 7)
        known["k000"] = b"7"
        offset, before = db.last_offset, dict(known)
        blob = b"".join([block async for block in db.backup()])
        await db.write_many(writes(chance, known))
        then = await db.past.page("", KEYS, None, offset)
        assert {item.key: item.value for item in then.items} == before
        assert shard.view.hot_bytes < ROOM + 150 * 400
    copy, target = tmp_path / "copy", tmp_path / "restored"
    await trio.to_thread.run_sync(partial(backup.unpack, io.BytesIO(blob), copy))
    backup.restore(copy, target)
    async with open_database(config_of(target)) as db:
        await check(db, before)
