"""Everything a database has on disk (or in memory), opened and recovered. Sync: for a thread."""

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from kissvdb import logs
from kissvdb.config import Config
from kissvdb.engine import recovery
from kissvdb.engine.collection_store import CollectionStore
from kissvdb.engine.recovery import Progress, TableReplay, View
from kissvdb.storage.data_dir import DataDir
from kissvdb.storage.disk import Disk
from kissvdb.storage.log import EventLog
from kissvdb.storage.memory_log import MemoryLog
from kissvdb.storage.state_table import StateTable

logger = logging.getLogger("kissvdb.store")


class Store:
    """The open log and tables. Raises DirectoryInUse, Damaged, ConfigError."""

    log: EventLog | MemoryLog
    tables: list[StateTable]
    collections: CollectionStore

    def __init__(self, config: Config, progress: Progress) -> None:
        self.directory: DataDir | None = None
        with ExitStack() as stack:
            if config.storage.memory:
                self._open_memory(config)
            else:
                self._open_directory(config, progress, stack)
            tables = self.tables
            for table in tables:
                stack.callback(table.close)
            recovery.claim_shards(tables, self.log.last_offset)
            views: list[View] = [
                TableReplay(table, shard, len(tables)) for shard, table in enumerate(tables)
            ]
            views.append(self.collections.view())
            recovery.replay(self.log, self.log.last_offset, views, progress)
            self.collections.forget_uncreated()
            self._open = stack.pop_all()

    def close(self) -> None:
        self._open.close()

    def _open_memory(self, config: Config) -> None:
        self.log = MemoryLog(
            records_max=config.stream.ring_events, bytes_max=config.stream.ring_bytes_max
        )
        self.tables = [StateTable(None) for _ in range(config.state.shards)]
        self.collections = CollectionStore(None)

    def _open_directory(self, config: Config, progress: Progress, stack: ExitStack) -> None:
        directory = self.directory = DataDir.open(Path(config.storage.data_dir))
        stack.callback(directory.close)
        paths = [directory.state_path(number) for number in range(config.state.shards)]
        self.tables = [StateTable(path) for path in paths]
        self.collections = CollectionStore(directory.path)
        stack.callback(self.collections.close)
        # The log may be shorter than the tables (the user removed it): offsets go on after both.
        floor = max(
            directory.offset_floor,
            self.collections.applied_offset_max,
            *(table.applied_offset for table in self.tables),
        )
        self.log = EventLog.open(
            Disk(directory.log_dir),
            segment_bytes_max=config.log.segment_max_bytes,
            offset_floor=floor,
            on_progress=partial(progress, "reading the log"),
        )
        stack.callback(self.log.close)
        if self.log.report is not None:
            logs.event(
                logger,
                logging.WARNING,
                "cut a torn tail off the log: a write that was never answered",
                file=self.log.report.path,
                bytes=self.log.report.bytes_cut,
            )
