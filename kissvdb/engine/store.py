"""Everything a database has on disk (or in memory), opened and recovered. Sync: for a thread."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from kissvdb.config import Config
from kissvdb.core.state.reserved_keys import DOCUMENT_PREFIX, SETTINGS_PREFIX, is_name
from kissvdb.engine import recovery
from kissvdb.engine.documents.document_store import DocumentStore
from kissvdb.engine.keys.key_store import KeyStore
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.log.local import LocalLog
from kissvdb.engine.log.memory import MemoryLog
from kissvdb.engine.recovery import Progress, TableReplay, View
from kissvdb.engine.rows.shared_kernels import SharedKernels
from kissvdb.engine.sql.sql_store import SqlStore
from kissvdb.engine.vectors.collection_store import CollectionStore
from kissvdb.epochs import Epochs, new_epoch
from kissvdb.storage.data_dir import DataDir
from kissvdb.storage.disk import Disk
from kissvdb.storage.state.table import StateTable


class Store:
    """The open log and tables. Raises DirectoryInUse, Damaged, ConfigError."""

    log: EventLog
    tables: list[StateTable]
    replays: list[TableReplay]
    """What the tables do not hold yet."""
    collections: CollectionStore
    documents: DocumentStore
    sql: SqlStore
    keys: KeyStore
    epoch: str
    epoch_floor: int

    def __init__(self, config: Config, progress: Progress, memory_floor: int = 0) -> None:
        """In memory the first offset is above ``memory_floor``."""
        self.directory: DataDir | None = None
        self.kernels = SharedKernels()
        with ExitStack() as stack:
            if config.storage.memory:
                self._open_memory(config, memory_floor, stack)
            else:
                self._open_directory(config, progress, stack)
            tables = self.tables
            for table in tables:
                stack.callback(table.close)
            written = not config.storage.memory and self.log.last_offset > 0
            recovery.claim_shards(tables, free=not written)
            self.sql.prepare(self.log)
            self.replays = [
                TableReplay(table, shard, len(tables)) for shard, table in enumerate(tables)
            ]
            views: list[View] = [*self.replays]
            keys = self.keys.replay_view(self.log.first_offset)
            views += (self.collections.view(), self.documents.view(), self.sql.replay, keys)
            if written:
                applied = [table.applied_offset for table in tables]
                self.documents.distrust(self.log.first_offset, self.log.last_offset, applied)
                self.collections.isolate_before(self.log.first_offset)
                recovery.replay(self.log, self.log.last_offset, views, progress)
                self.sql.mend(self.log, progress)
            self.keys.check_salt()
            self.collections.forget_uncreated()
            self._open = stack.pop_all()

    def close(self) -> None:
        self._open.close()

    def document_collections(self) -> set[str]:
        """Those that have a document, or settings, among the keys."""
        found = {
            name
            for table in self.tables
            for prefix in (DOCUMENT_PREFIX, SETTINGS_PREFIX)
            for name in table.parts(prefix, ":")
        }
        for replay in self.replays:
            for memtable in replay.memtables:
                for prefix in (DOCUMENT_PREFIX, SETTINGS_PREFIX):
                    for key, item in memtable.scan(prefix, None):
                        name, separator, _ = key.removeprefix(prefix).partition(":")
                        if item is not None and separator:
                            found.add(name)
        return set(filter(is_name, found))

    @property
    def epochs(self) -> Epochs:
        """The epoch, and the ends of earlier ones that the log knows."""
        return Epochs(self.epoch, self.epoch_floor, self.log.boundaries)

    def _open_memory(self, config: Config, floor: int, stack: ExitStack) -> None:
        self.epoch, self.epoch_floor = new_epoch(), floor
        self.log = MemoryLog(
            records_max=config.stream.ring_events,
            bytes_max=config.stream.ring_bytes_max,
            offset_floor=floor,
        )
        self.tables = [StateTable(None) for _ in range(config.state.shards)]
        self.collections = CollectionStore(None, self.kernels)
        self.documents = DocumentStore(None, self.kernels)
        self.sql = SqlStore(None)
        stack.callback(self.sql.close)
        self.keys = KeyStore(None)

    def _open_directory(self, config: Config, progress: Progress, stack: ExitStack) -> None:
        directory = self.directory = DataDir.open(Path(config.storage.data_dir))
        stack.callback(directory.close)
        self.epoch, self.epoch_floor = directory.epoch, directory.epoch_floor
        paths = [directory.state_path(number) for number in range(config.state.shards)]
        self.tables = [StateTable(path) for path in paths]
        self.collections = CollectionStore(directory.path, self.kernels)
        stack.callback(self.collections.close)
        self.documents = DocumentStore(directory.path, self.kernels)
        stack.callback(self.documents.close)
        self.sql = SqlStore(directory)
        stack.callback(self.sql.close)
        self.keys = KeyStore(directory.path)
        # The log may be shorter than the tables (the user removed it): offsets go on after both.
        floor = max(
            directory.offset_floor,
            self.collections.applied_offset_max,
            self.documents.applied_offset_max,
            self.sql.applied_offset,
            self.keys.applied_offset,
            *(table.applied_offset for table in self.tables),
        )
        self.log = LocalLog.open(
            Disk(directory.log_dir),
            config.log,
            offset_floor=floor,
            epoch=directory.epoch,
            on_progress=partial(progress, "reading the log"),
        )
        stack.callback(self.log.close)
        for table in self.tables:
            table.writer.boundaries = self.log.boundaries
