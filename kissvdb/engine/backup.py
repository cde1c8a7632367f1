"""Online backup: a consistent copy of the running database as a tar stream."""

import time
from collections.abc import AsyncGenerator, Sequence

from actors import Workers
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.model import Model
from kissvdb.errors import NotSupported
from kissvdb.storage import backup
from kissvdb.storage.backup import Entry
from kissvdb.storage.data_dir import META_NAME, DataDir


def stream(
    models: Sequence[Model],
    log: EventLog,
    directory: DataDir | None,
    workers: Workers,
    holds: list[int],
) -> AsyncGenerator[bytes, None]:
    """The blocks of the tar. While it runs, ``holds`` keeps the log's segments from removal.

    Raises NotSupported without a directory.
    """
    if directory is None:
        raise NotSupported("a server in memory has nothing to back up: start it with --data-dir")
    return _blocks(models, log, directory, workers, holds)


async def _blocks(
    models: Sequence[Model],
    log: EventLog,
    directory: DataDir,
    workers: Workers,
    holds: list[int],
) -> AsyncGenerator[bytes, None]:
    holds.append(0)
    # Every file is noted here when it is opened, so that the end of this closes it, however it
    # comes: a client that leaves, a shutdown, a file that cannot be opened.
    entries: list[Entry] = []
    try:
        # What was begun before the backup is in it.
        await log.barrier()
        # Views first, the end of the log after them: it then holds all that they lack. Keys are the
        # first of the models: what comes to be while the others note their files comes to be behind
        # the offset of the tables, where the replay begins, and so by the replay.
        for model in models:
            await model.note_files(entries)
        last_offset = await log.note_files(entries)
        await workers.run(_note_description, directory, last_offset, entries)
        blocks = backup.tar_blocks(entries, int(time.time()))
        while block := await workers.run(next, blocks, b""):
            yield block
    finally:
        for entry in entries:
            entry.source.close()
        holds.remove(0)


def _note_description(directory: DataDir, last_offset: int, entries: list[Entry]) -> None:
    meta = (directory.path / META_NAME).read_bytes()
    entries.append(Entry.of_bytes(META_NAME, meta))
    # Last: what lacks it broke off.
    created_at_ms = time.time_ns() // 1_000_000
    entries.append(backup.description(last_offset, directory.database_id, created_at_ms))
