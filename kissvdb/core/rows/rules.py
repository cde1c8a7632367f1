"""The rules of vector collections: what a command does to a vector, and what it answers.

Sync and deterministic: the time is an argument, the rows are whatever answers ``stored``. A batch
is decided against the rows *plus the batch so far*; nothing is applied before it is logged.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from kissvdb.core import batch
from kissvdb.core.quotas import vector_bytes
from kissvdb.core.state.rules import EXPIRES_AT_MS_MAX
from kissvdb.core.store.columns import Columns, Found, ManyDecision, UpsertMany, plainly
from kissvdb.core.store.memory import Room
from kissvdb.core.store.spec import CollectionSpec, StoredRow
from kissvdb.errors import (
    AlreadyExists,
    Damaged,
    DimMismatch,
    EmbedderMismatch,
    InvalidArgument,
    NotFound,
    RevisionMismatch,
)
from kissvdb.records import Operation, VectorDeleted, VectorWritten


class Add(msgspec.Struct, frozen=True):
    """Write a vector under an id that has none.

    ``vector`` is little-endian float32, finite; ``meta`` compact JSON, None for none; ``text``
    what full text search finds it by. Without ``ttl_ms`` the collection's default holds.
    ``embedded``: the vector was made of the text here, by ``model``; the client asked for no
    vector.
    """

    id: str
    vector: bytes
    meta: bytes | None = None
    ttl_ms: int | None = None
    op_id: str | None = None
    text: str | None = None
    embedded: bool = False
    model: str | None = None


class Upsert(msgspec.Struct, frozen=True):
    """Write a vector whether or not its id has one: the whole record is replaced."""

    id: str
    vector: bytes
    meta: bytes | None = None
    ttl_ms: int | None = None
    op_id: str | None = None
    text: str | None = None
    embedded: bool = False
    model: str | None = None


class Update(msgspec.Struct, frozen=True):
    """Replace the parts that are not None; ``meta`` is replaced whole, not merged. An empty text
    takes the text away.

    Without ``ttl_ms`` the vector keeps the time it has.
    """

    id: str
    vector: bytes | None = None
    meta: bytes | None = None
    ttl_ms: int | None = None
    op_id: str | None = None
    text: str | None = None
    embedded: bool = False
    model: str | None = None


class Delete(msgspec.Struct, frozen=True):
    """Remove a vector. A missing id is an error."""

    id: str
    op_id: str | None = None


class Require(msgspec.Struct, frozen=True):
    """Change nothing, and be refused unless the id is ``absent``, or there: for a batch."""

    id: str
    absent: bool
    op_id: None = None


class WrittenVector(msgspec.Struct, frozen=True):
    """The answer to Add, Upsert and Update."""

    id: str
    offset: int
    expires_at_ms: int | None = None
    repeated: bool = False
    """It was done before, under the same op_id."""
    unchanged: bool = False
    """Nothing was written: it would have been the same."""


class DeletedVector(msgspec.Struct, frozen=True):
    """The answer to Delete."""

    id: str
    offset: int
    repeated: bool = False


Command = Add | Upsert | Update | Delete | Require
Answer = WrittenVector | DeletedVector


class VectorDecision(msgspec.Struct, frozen=True):
    """A command that was accepted, waiting for the offset of its record.

    ``position`` is the record's place in the batch; None for a repeated ``op_id``, and then
    ``answer`` is complete.
    """

    answer: Answer
    position: int | None = None
    repeated: bool = False

    def again(self) -> "VectorDecision":
        """See `batch.Repeatable`."""
        return VectorDecision(self.answer, self.position, True)

    def at(self, first_offset: int) -> Answer:
        """The answer once the batch's first record has got ``first_offset``."""
        if self.position is None:
            return self.answer
        offset = first_offset + self.position
        if isinstance(self.answer, WrittenVector):
            return WrittenVector(self.answer.id, offset, self.answer.expires_at_ms, self.repeated)
        return DeletedVector(self.answer.id, offset, self.repeated)


class Stored(Protocol):
    """What decisions look at: ``Rows``."""

    def stored(self, id_: str) -> StoredRow | None: ...

    def find_many(self, ids: Sequence[str], now_ms: int) -> Found | None: ...

    def operation(self, op_id: str) -> Operation | None: ...


_NOT_YET_KNOWN = -1


class VectorBatch(batch.Batch[VectorDecision]):
    """The commands of one batch, decided in order: ``records`` is what is to be logged."""

    def __init__(self, spec: CollectionSpec, rows: Stored, now_ms: int) -> None:
        super().__init__(rows.operation)
        self.records: list[VectorWritten | VectorDeleted] = []
        self.columns: list[Columns] = []
        """What of ``records`` was decided as columns."""
        self.room: Room | None = None
        """How much memory is left, if that is bounded; set by who makes the batch."""
        self._spec = spec
        self._rows = rows
        self._now_ms = now_ms

    @property
    def is_columns(self) -> bool:
        """Whether all of ``records`` was."""
        return bool(self.columns) and sum(map(len, self.columns)) == len(self.records)

    @property
    def rows(self) -> int:
        """How many rows ``records`` appends: what ``Rows.reserve`` is to make room for."""
        return sum(isinstance(record, VectorWritten) for record in self.records)

    @property
    def blob_bytes(self) -> int:
        """How many bytes the ids and metadata of these rows have at most."""
        return sum(
            4 * len(record.id) + len(record.meta or b"")
            for record in self.records
            if isinstance(record, VectorWritten)
        )

    @property
    def text_bytes(self) -> int:
        """How many bytes the texts of these rows have at most."""
        return sum(
            4 * len(record.text)
            for record in self.records
            if isinstance(record, VectorWritten) and record.text
        )

    @property
    def vectors(self) -> list[bytes]:
        """The vectors of these rows, as they are sent."""
        return [record.vector for record in self.records if isinstance(record, VectorWritten)]

    def expire(self, ids: Sequence[str]) -> None:
        """Log the end of the vectors that are past their time (those written again are not).

        Of a damaged row it is not known whether it is: it stays, and holds up no other.
        """
        for id_ in ids:
            try:
                found = self._stored(id_)
            except Damaged:
                continue
            if found is not None and self._is_expired(found):
                self._end(id_)

    def delete_all(self, ids: Sequence[str]) -> int:
        """Delete those of the ids that are there; answers how many (for delete by filter)."""
        count = 0
        for id_ in ids:
            if self._live(id_) is not None:
                self._delete(Delete(id_))
                count += 1
        return count

    def _decide_again(self, operation: Operation) -> VectorDecision:
        return VectorDecision(_answer_again(operation))

    def _decide(self, command: Command | UpsertMany) -> Any:
        if isinstance(command, UpsertMany):
            return self._upsert_many(command)
        if isinstance(command, Require):
            return self._require(command)
        if isinstance(command, Delete):
            return self._delete(command)
        self._check_model(command)
        if isinstance(command, Update):
            return self._update(command)
        self._check_dim(command.vector)
        if isinstance(command, Add) and self._live(command.id) is not None:
            raise AlreadyExists(
                f"vector {command.id!r} already exists in {self._spec.name!r}: upsert replaces it, "
                "update changes it"
            )
        return self._write(
            "added" if isinstance(command, Add) else "upserted",
            command,
            command.vector,
            command.meta,
            command.text,
            self._expiry(self._spec.ttl_ms if command.ttl_ms is None else command.ttl_ms),
        )

    def _upsert_many(self, many: UpsertMany) -> ManyDecision | list[Any]:
        """A decision for all, or, where one of them is to be looked at for itself, one for each."""
        columns = None
        if self._pending.keys().isdisjoint(many.ids):
            before = len(self.records)
            bounds = self.growth, self.room, before
            columns = plainly(many, self._spec, self._rows, self._now_ms, *bounds)
        if columns is None:
            kind = Add if many.absent else Upsert
            rows = zip(many.ids, many.vectors, many.metas, strict=True)
            return self.decide_each([kind(id_, row.tobytes(), meta) for id_, row, meta in rows])
        start, records = len(self.records), columns.records(self._spec.name)
        self.records += records
        self._pending.update(zip(many.ids, records, strict=True))
        self.columns.append(columns)
        return ManyDecision(range(start, len(self.records)))

    def _require(self, command: Require) -> VectorDecision:
        there = self._live(command.id) is not None
        if there is command.absent:
            found = "exists already" if there else "does not exist"
            raise RevisionMismatch(f"vector {command.id!r} {found} in {self._spec.name!r}")
        return VectorDecision(DeletedVector(command.id, _NOT_YET_KNOWN))

    def _update(self, command: Update) -> VectorDecision:
        if command.vector is not None:
            self._check_dim(command.vector)
        live = self._live(command.id)
        if live is None:
            raise self._not_found(command.id)
        return self._write(
            "updated",
            command,
            live.vector if command.vector is None else command.vector,
            live.meta if command.meta is None else command.meta,
            live.text if command.text is None else command.text,
            live.expires_at_ms if command.ttl_ms is None else self._expiry(command.ttl_ms),
        )

    def _delete(self, command: Delete) -> VectorDecision:
        if self._live(command.id) is None:
            raise self._not_found(command.id)
        self.records.append(
            VectorDeleted(self._spec.name, command.id, "explicit", command.op_id, self._fingerprint)
        )
        self._forget(command.id)
        return VectorDecision(DeletedVector(command.id, _NOT_YET_KNOWN), len(self.records) - 1)

    def _write(
        self,
        kind: str,
        command: Add | Upsert | Update,
        vector: bytes,
        meta: bytes | None,
        text: str | None,
        expires_at_ms: int | None,
    ) -> VectorDecision:
        found = self._stored(command.id)
        if self.room is not None:
            self.room.admit(len(self.records) + 1)
        if self.growth is not None:
            size = vector_bytes(vector, meta, text)
            self.growth.of_vector(self._spec.name, int(found is None), size)
        if found is not None and self._is_expired(found):
            # The old life ends in the log before the new one starts.
            self._end(command.id, counted=True)
        record = VectorWritten(
            kind,
            self._spec.name,
            command.id,
            vector,
            meta,
            expires_at_ms,
            command.op_id,
            self._fingerprint,
            text or None,
        )
        self.records.append(record)
        self._pending[command.id] = record
        answer = WrittenVector(command.id, _NOT_YET_KNOWN, expires_at_ms)
        return VectorDecision(answer, len(self.records) - 1)

    def _end(self, id_: str, *, counted: bool = False) -> None:
        """``counted``: what it makes free is known to the quotas already."""
        self.records.append(VectorDeleted(self._spec.name, id_, "ttl"))
        self._forget(id_, counted=counted)

    def _forget(self, id_: str, *, counted: bool = False) -> None:
        if self.growth is not None and not counted:
            # Its bytes stay until a vacuum.
            self.growth.of_vector(self._spec.name, -1, 0)
        self._pending[id_] = None

    def _stored(self, id_: str) -> StoredRow | VectorWritten | None:
        if id_ in self._pending:
            pending: VectorWritten | None = self._pending[id_]
            return pending
        return self._rows.stored(id_)

    def _live(self, id_: str) -> StoredRow | VectorWritten | None:
        found = self._stored(id_)
        return None if found is None or self._is_expired(found) else found

    def _is_expired(self, found: StoredRow | VectorWritten) -> bool:
        return found.expires_at_ms is not None and found.expires_at_ms <= self._now_ms

    def _expiry(self, ttl_ms: int | None) -> int | None:
        if ttl_ms is None:
            return None
        expires_at_ms = self._now_ms + ttl_ms
        if expires_at_ms > EXPIRES_AT_MS_MAX:
            raise InvalidArgument(
                f"ttl_ms {ttl_ms} lies beyond the end of time: leave it out for no expiry"
            )
        return expires_at_ms

    def _check_model(self, command: Add | Upsert | Update) -> None:
        """A collection may have got another embedder since the vector was made."""
        model = command.model
        without_vector = command.vector is None and command.text and self._spec.embedder is not None
        if without_vector or model not in (None, self._spec.embedder_model):
            raise EmbedderMismatch(
                f"collection {self._spec.name!r} got another embedder while the text was embedded, "
                f"and its vectors are of {self._spec.embedder_model} now: send it again"
            )

    def _check_dim(self, vector: bytes) -> None:
        if len(vector) != self._spec.vector_bytes:
            raise DimMismatch(
                f"vector has {len(vector) / 4:g} numbers, collection {self._spec.name!r} has dim "
                f"{self._spec.dim}: send {self._spec.dim} numbers"
            )

    def _not_found(self, id_: str) -> NotFound:
        return NotFound(
            f"no vector {id_!r} in collection {self._spec.name!r}: add it or check the id"
        )


def _answer_again(operation: Operation) -> Answer:
    if operation.kind == "deleted":
        return DeletedVector(operation.key, operation.offset, True)
    return WrittenVector(operation.key, operation.offset, operation.expires_at_ms, True)
