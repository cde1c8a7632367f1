"""Keys that show collections: read, listed when asked for, never written, never lost."""

import json
from pathlib import Path

import pytest

from kissvdb import records
from kissvdb.core.events.publishing import Publish
from kissvdb.core.state.rules import Delete, Patch, Put
from kissvdb.engine.opening import open_database
from kissvdb.errors import AlreadyExists, ReservedKey
from kissvdb.records import KeyWritten
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.segmented_log import SegmentedLog
from tests.engine.sse import collect
from tests.engine.test_collection import IN_MEMORY, config

__all__ = ["config"]

KEY = "vector:c:manifest"
SHOWN = {"collection": "c", "dim": 3, "metric": "l2"}


def written_before(config, key, value):
    """A key in the log of a closed database as an earlier version, or its user, wrote it."""
    log = SegmentedLog.open(Disk(Path(config.storage.data_dir) / "log"), segment_bytes_max=2**20)
    log.append(1, [records.encode(KeyWritten(key, json.dumps(value).encode(), 1))])
    log.close()


async def listed(db, prefix, **page):
    return [item.key for item in (await db.list(prefix, **page)).items]


async def test_a_collection_shows_as_a_key_that_nobody_can_write():
    async with open_database(IN_MEMORY) as db:
        offset = await db.vectors.create("c", dim=3, metric="l2")
        found = db.get(KEY)
        assert SHOWN.items() <= json.loads(found.value).items()
        assert (found.revision, found.offset) == (1, offset)
        for command in (Put(KEY, b"1"), Patch(KEY, b"{}"), Delete(KEY), Put(KEY, b"1", op_id="o")):
            with pytest.raises(ReservedKey, match="/v1/vector/c"):
                await db.write(command)
        (refused, done) = await db.write_many([Put(KEY, b"1"), Put("mine", b"1")])
        assert isinstance(refused, ReservedKey)
        assert done.revision == 1
        assert db.get(KEY) == found
        assert db.last_offset == offset + 1
        await db.vectors.drop("c")
        assert db.get(KEY) is None


async def test_it_is_listed_only_for_a_prefix_of_such_keys():
    async with open_database(IN_MEMORY) as db:
        for name in ("b", "c", "d"):
            await db.vectors.create(name, dim=3, metric="l2")
        for key in ("a", "vector:", "vector:c", "vector:c:mine", "z"):
            await db.put(key, 1)
        mine = ["a", "vector:", "vector:c", "vector:c:mine", "z"]
        assert await listed(db, "") == mine
        assert await listed(db, "v") == mine[1:4]
        every = ["vector:", "vector:b:manifest", "vector:c", KEY, "vector:c:mine"]
        every.append("vector:d:manifest")
        assert await listed(db, "vector:") == every
        assert await listed(db, "vector:c:m") == [KEY, "vector:c:mine"]
        paged, after = [], None
        while True:
            page = await db.list("vector:", limit=2, after=after)
            paged += [item.key for item in page.items]
            after = page.cursor
            if after is None:
                break
        assert paged == every


async def test_a_collection_makes_no_events_but_its_own():
    async with open_database(IN_MEMORY) as db:
        await db.vectors.create("c", dim=3, metric="l2")
        await db.vectors.drop("c")
        await db.publish(Publish("end", b"1"))
        kinds = [kind for kind, _, _ in await collect(db, 3)]
        assert kinds == ["vector_collection_created", "vector_collection_deleted", "end"]


async def test_a_users_older_key_is_not_lost_and_can_be_moved(config):
    async with open_database(config) as db:
        await db.put("k", 1)
    written_before(config, KEY, {"mine": True})
    async with open_database(config) as db:
        with pytest.raises(AlreadyExists, match="value of yours"):
            await db.vectors.create("c", dim=3, metric="l2")
        assert db.get(KEY).value == b'{"mine": true}'
        assert await listed(db, "") == ["k", KEY]
        await db.delete(KEY)
        await db.vectors.create("c", dim=3, metric="l2")
        assert json.loads(db.get(KEY).value)["collection"] == "c"


async def test_a_key_that_an_earlier_version_stored_becomes_the_one_that_is_shown(config):
    async with open_database(config) as db:
        offset = await db.vectors.create("c", dim=3, metric="l2")
        shown = db.get(KEY)
    # What earlier versions wrote behind the creation, and a backup of theirs could hold alone.
    written_before(config, KEY, json.loads(shown.value))
    alone = {**json.loads(shown.value), "collection": "gone"}
    written_before(config, "vector:gone:manifest", alone)
    async with open_database(config) as db:
        assert db.get(KEY) == shown
        assert shown.offset == offset
        assert await listed(db, "vector:c") == [KEY]
        assert KEY not in await listed(db, "")
        await db.vectors.create("gone", dim=1, metric="dot")
        assert json.loads(db.get("vector:gone:manifest").value)["metric"] == "dot"
        await db.vectors.drop("c")
        assert db.get(KEY) is None
