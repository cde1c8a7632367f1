"""Rows on disk: what a checkpoint stores, and rows made of it again.

Truth are the row arrays and the index ``rows``: tombstones, checksums, answered operations.
Everything else is derived, and made anew from the rows if it is damaged.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.index.codes import CodeSum
from kissvdb.core.index.index import Index
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.index.kinds import empty_index
from kissvdb.core.metadata.index import MetadataIndex, MetadataView
from kissvdb.core.rows.texts import RowTexts
from kissvdb.core.store import guard as row_guard
from kissvdb.core.store.guard import BLOCK_ROWS, RowGuard, Sums
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.row_store import RowStore, Sent
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.store.tombstones import Tombstones, TombstoneView
from kissvdb.core.text.index import TextIndex, TextView
from kissvdb.errors import Damaged, InvalidArgument, NewerFormat
from kissvdb.records import Operation

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

FORMAT: Final = 3
_FORMAT_BEFORE_SENT: Final = 2
_FORMAT_BEFORE_TEXTS: Final = 1


class Fields(msgspec.Struct, frozen=True):
    """What a manifest says of the rows."""

    format: int
    spec: dict[str, Any]
    offset: int
    rows: int
    body: dict[str, Any] | None
    code_sums: dict[str, tuple[int, int]]
    texts: bool = False
    text_index: bool = False
    sent: Sent | None = None
    """Of which rows there is the vector that was sent; None before a version said so."""


@attrs.frozen(eq=False)
class Parts:
    """The parts of rows at one moment, to be stored."""

    spec: CollectionSpec
    offset: int
    data: RowData
    dead: TombstoneView
    ids: Arrays
    metadata: MetadataView
    texts: TextView | None
    index: Index
    operations: list[tuple[str, Operation]]
    sums: Sums
    code_sums: Mapping[str, CodeSum]
    sent: Sent = "none"


class Checkpoint:
    """What is to be stored of rows, true at ``offset``. ``run`` it, then store, then install."""

    kind = "checkpoint"

    def __init__(self, parts: Parts) -> None:
        self.offset = parts.offset
        self.sums = parts.sums
        self.code_sums = dict(parts.code_sums)
        self.manifest: dict[str, Any] = {}
        self.indexes: dict[str, dict[str, Array]] = {}
        self._parts = parts

    def run(self) -> None:
        """Fill ``manifest`` and ``indexes``; in a thread, while no other upkeep is under way."""
        parts = self._parts
        whole = len(parts.sums)
        if whole and _is_sound(parts.data, (whole - 1) * BLOCK_ROWS):
            # It may have grown. Behind a damaged one another block began, and its sum stays.
            whole -= 1
        self.sums = np.concatenate([parts.sums[:whole], row_guard.sums_of(parts.data, whole)])
        index, texts = parts.index, parts.data.text_ends is not None
        self.code_sums = index.sums(parts.code_sums)
        fields = Fields(
            _format(parts.spec, parts.sent, texts),
            parts.spec.to_fields(),
            parts.offset,
            parts.data.count,
            index.to_fields(),
            {name: (each.rows, each.crc32) for name, each in self.code_sums.items()},
            texts,
            parts.texts is not None,
            parts.sent,
        )
        self.manifest = msgspec.to_builtins(fields)
        operations = msgspec.msgpack.encode(parts.operations)
        self.indexes = {
            "rows": {
                **parts.dead.to_arrays(),
                "sums": self.sums,
                "operations": np.frombuffer(operations, np.uint8),
            },
            "ids": dict(parts.ids),
            "metadata": parts.metadata.to_arrays(),
        }
        if parts.texts is not None:
            self.indexes["text"] = parts.texts.to_arrays()
        arrays = index.to_arrays()
        if arrays:
            self.indexes[index.name] = arrays


def _format(spec: CollectionSpec, sent: Sent, texts: bool) -> int:
    """The least version of the format that says it all: older programs read older ones."""
    if spec.metric == "cosine" and sent != "all":
        return FORMAT
    return _FORMAT_BEFORE_SENT if texts or spec.holds_documents else _FORMAT_BEFORE_TEXTS


def _is_sound(data: RowData, row: int) -> bool:
    try:
        data.check((row,))
    except Damaged:
        return False
    return True


@attrs.define(eq=False)
class Opened:
    """The parts of rows as they were stored; ``warnings`` say what was made anew."""

    spec: CollectionSpec
    offset: int
    store: RowStore
    guard: RowGuard
    dead: Tombstones
    ids: IdMap
    metadata: MetadataIndex
    texts: RowTexts
    index: Index
    operations: dict[str, Operation]
    sums: Sums
    code_sums: dict[str, CodeSum]
    warnings: list[str]


def opened(
    manifest: Mapping[str, Any],
    indexes: Mapping[str, Arrays],
    damaged: Mapping[str, str],
    space: Space,
    salt: bytes,
    kernels: Kernels,
) -> Opened:
    """The parts of a checkpoint's ``manifest`` and ``indexes``; nothing is read but these.

    damaged: why an index is not among ``indexes``. salt: for a new id map, if it is needed. Raises
    Damaged when the truth itself is lost.
    """
    fields, spec, store, guard = _guarded_rows(manifest, indexes, damaged, space)
    truth = indexes["rows"]
    dead = Tombstones.from_arrays(truth)
    opener = _Opener(fields, indexes, damaged, store, dead, guard)
    operations = msgspec.msgpack.decode(
        truth["operations"].tobytes(), type=list[tuple[str, Operation]]
    )
    sums = {part: CodeSum(*each) for part, each in fields.code_sums.items()}
    index = opener.index(empty_index(spec, kernels), sums, space)
    return Opened(
        spec,
        fields.offset,
        store,
        guard,
        dead,
        opener.ids(salt),
        opener.metadata(),
        opener.texts(spec, kernels),
        index,
        dict(operations),
        truth["sums"],
        sums if index.size else {},
        opener.warnings,
    )


def verify(
    manifest: Mapping[str, Any],
    indexes: Mapping[str, Arrays],
    damaged: Mapping[str, str],
    space: Space,
) -> None:
    """Compare all rows of a checkpoint with their checksums. Changes nothing; raises Damaged."""
    _, _, _, guard = _guarded_rows(manifest, indexes, damaged, space)
    guard.check_all()


def _guarded_rows(
    manifest: Mapping[str, Any],
    indexes: Mapping[str, Arrays],
    damaged: Mapping[str, str],
    space: Space,
) -> tuple[Fields, CollectionSpec, RowStore, RowGuard]:
    try:
        fields = msgspec.convert(manifest, Fields)
        spec = CollectionSpec.of_fields(fields.spec)
    except (msgspec.ValidationError, TypeError, InvalidArgument) as error:
        raise Damaged(f"the manifest of a collection is of another form: {error}") from error
    name = f"collection {spec.name!r}"
    if fields.format > FORMAT:
        raise NewerFormat(f"{name}: rows of format {fields.format}, this program reads {FORMAT}")
    if "rows" not in indexes:
        raise Damaged(f"{name}: {damaged.get('rows', 'no index of its rows')}; restore a backup")
    sent = fields.sent or ("all" if spec.metric == "cosine" else "none")
    store = RowStore(spec, space, fields.rows, texts=fields.texts, sent=sent)
    guard = RowGuard(name, store.view(), indexes["rows"]["sums"])
    store.guarded_by(guard)
    return fields, spec, store, guard


class _Opener:
    """Opens each derived part, or makes it anew from the rows."""

    def __init__(
        self,
        fields: Fields,
        indexes: Mapping[str, Arrays],
        damaged: Mapping[str, str],
        store: RowStore,
        dead: Tombstones,
        guard: RowGuard,
    ) -> None:
        self.warnings: list[str] = []
        self._fields = fields
        self._indexes = indexes
        self._damaged = damaged
        self._data = store.view()
        self._dead = dead
        self._guard = guard

    def ids(self, salt: bytes) -> IdMap:
        try:
            ids = IdMap.from_arrays(self._index("ids"))
            self._must_be(ids.row_count, "ids")
        except Damaged as error:
            self._warn("ids", error)
            ids = IdMap(salt)
            dead = self._dead.view()
            for row in range(self._data.count):
                id_ = self._data.id_at(row)
                ids.put(id_, row)
                if dead.is_dead(row):
                    ids.delete(id_)
        return ids

    def metadata(self) -> MetadataIndex:
        try:
            index = MetadataIndex.from_arrays(self._index("metadata"))
            self._must_be(index.row_count, "metadata")
        except Damaged as error:
            self._warn("metadata", error)
            index = MetadataIndex()
            index.extend(0, [self._data.document(row) for row in range(self._data.count)])
        return index

    def texts(self, spec: CollectionSpec, kernels: Kernels) -> RowTexts:
        texts = RowTexts(spec, kernels)
        if not self._fields.text_index:
            return texts
        try:
            arrays = self._index("text")
            texts.index = TextIndex.from_arrays(arrays, spec.text_settings, kernels)
            self._must_be(texts.index.row_count, "text")
        except Damaged as error:
            self._warn("text", error)
            texts = RowTexts(spec, kernels)
            texts.extend_from(0, self._data, np.arange(self._data.count))
        return texts

    def index(self, empty: Index, sums: Mapping[str, CodeSum], space: Space) -> Index:
        if self._fields.body is None:
            return empty
        try:
            arrays = self._index(empty.name)
            return empty.from_arrays(self._fields.body, arrays, sums, self._data, space)
        except Damaged as error:
            # All rows are tail then: scanned, and drained into a new one.
            self._warn(empty.name, error)
            for name in sums:
                space.forget(name)
            return empty

    def _index(self, name: str) -> Arrays:
        if name not in self._indexes:
            raise Damaged(self._damaged.get(name, f"no index {name!r}"))
        return self._indexes[name]

    def _must_be(self, rows: int, name: str) -> None:
        if rows != self._data.count:
            raise Damaged(f"index {name!r} is of {rows} rows, not {self._data.count}")

    def _warn(self, name: str, error: Damaged) -> None:
        self.warnings.append(f"the index {name!r} is made anew from the rows: {error.message}")
        # What is made of the rows must not be made of damaged ones.
        self._guard.check_all()
