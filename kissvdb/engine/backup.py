"""Online backup: a consistent copy of the running database as a tar stream."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from actors import Workers
from kissvdb.engine.collections import OpenCollection
from kissvdb.engine.store import Store
from kissvdb.errors import NotSupported
from kissvdb.storage import backup, state_table
from kissvdb.storage.backup import Entry
from kissvdb.storage.data_dir import META_NAME, DataDir


def stream(
    store: Store,
    collections: Callable[[], Awaitable[Sequence[OpenCollection]]],
    workers: Workers,
    holds: list[int],
) -> AsyncGenerator[bytes, None]:
    """The blocks of the tar. While it runs, ``holds`` keeps the log's segments from removal.

    Raises NotSupported in memory mode.
    """
    if store.directory is None:
        raise NotSupported("a server in memory has nothing to back up: start it with --data-dir")
    return _blocks(store, store.directory, collections, workers, holds)


async def _blocks(
    store: Store,
    directory: DataDir,
    collections: Callable[[], Awaitable[Sequence[OpenCollection]]],
    workers: Workers,
    holds: list[int],
) -> AsyncGenerator[bytes, None]:
    holds.append(0)
    # Every file is noted here when it is opened, so that the end of this closes it, however it
    # comes: a client that leaves, a shutdown, a file that cannot be opened.
    entries: list[Entry] = []
    try:
        # What was begun before the backup is in it.
        await store.log.barrier()
        # Views first, the end of the log after them: it then holds all that they lack. The tables
        # before the list of collections: what is created later is created behind the tables'
        # offset, and so by the replay.
        await workers.run(_copy_tables, store, directory, entries)
        for each in await collections():
            entries += await each.upkeep.files()
        entries += await workers.run(store.collections.broken_entries)
        last_offset = await store.log.note_files(entries)
        await workers.run(_note_description, directory, last_offset, entries)
        blocks = backup.tar_blocks(entries, int(time.time()))
        while block := await workers.run(next, blocks, b""):
            yield block
    finally:
        for entry in entries:
            entry.source.close()
        holds.remove(0)


def _copy_tables(store: Store, directory: DataDir, entries: list[Entry]) -> None:
    """Note consistent copies of the tables, in files that are gone once they are closed."""
    with directory.scratch(each.path.name for each in store.tables if each.path) as scratch:
        for table in store.tables:
            path = table.path
            assert path is not None
            copy = scratch / path.name
            state_table.backup(path, copy)
            size = copy.stat().st_size
            entries.append(Entry(path.name, size, copy.open("rb")))


def _note_description(directory: DataDir, last_offset: int, entries: list[Entry]) -> None:
    meta = (directory.path / META_NAME).read_bytes()
    entries.append(Entry.of_bytes(META_NAME, meta))
    # Last: what lacks it broke off.
    created_at_ms = time.time_ns() // 1_000_000
    entries.append(backup.description(last_offset, directory.database_id, created_at_ms))
