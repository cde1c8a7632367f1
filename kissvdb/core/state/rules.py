"""The rules of key-value state: what a command does to a key, and what it answers.

Sync and deterministic: the time is an argument, the table is whatever answers ``get``. A batch
is decided against the table *plus the batch so far*; nothing is applied before it is logged.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from kissvdb.core import batch
from kissvdb.core.events.publishing import Publish, Published, record_of
from kissvdb.core.state import merge_patch, put_many, reserved_keys
from kissvdb.core.state.preconditions import ALWAYS as ALWAYS
from kissvdb.core.state.preconditions import Precondition as Precondition
from kissvdb.core.state.preconditions import check, unmet
from kissvdb.core.state.put_many import ManyDecision, PutMany, Run
from kissvdb.errors import (
    Damaged,
    InvalidArgument,
    PayloadTooLarge,
    Refused,
    RevisionMismatch,
)
from kissvdb.records import EventPublished, KeyDeleted, KeyWritten, Operation
from kissvdb.records import Item as Item

U64_MAX = 2**64 - 1
# Far enough for every TTL (year 292,278,994) and still a SQLite integer.
EXPIRES_AT_MS_MAX = 2**63 - 1


class Put(msgspec.Struct, frozen=True):
    """Set a key. ``value`` is compact JSON. Without ``ttl_ms`` a former TTL is cleared."""

    key: str
    value: bytes
    ttl_ms: int | None = None
    precondition: Precondition = ALWAYS
    op_id: str | None = None


class Patch(msgspec.Struct, frozen=True):
    """RFC 7396 merge patch of a key's value; a missing key is patched from null.

    Without ``ttl_ms`` the key keeps the TTL it has: a progress update must not make it eternal.
    """

    key: str
    patch: bytes
    ttl_ms: int | None = None
    precondition: Precondition = ALWAYS
    op_id: str | None = None


class Delete(msgspec.Struct, frozen=True):
    """Remove a key. A missing key is not an error: the answer says ``deleted`` false."""

    key: str
    precondition: Precondition = ALWAYS
    op_id: str | None = None


class Require(msgspec.Struct, frozen=True):
    """Change nothing, and be refused unless the precondition holds: for a batch."""

    key: str
    precondition: Precondition
    op_id: None = None


class Configure(msgspec.Struct, frozen=True):
    """Set a key that is the database's own; None removes it. Users have no such command."""

    key: str
    value: bytes | None
    precondition: Precondition = ALWAYS
    op_id: str | None = None


class Written(msgspec.Struct, frozen=True):
    """The answer to Put and Patch."""

    key: str
    revision: int
    offset: int
    expires_at_ms: int | None = None
    repeated: bool = False
    """It was done before, under the same op_id."""


class Deleted(msgspec.Struct, frozen=True):
    """The answer to Delete. ``offset`` is None when there was nothing to delete."""

    deleted: bool
    offset: int | None = None
    repeated: bool = False


Command = Put | Patch | Delete | Publish | Require | Configure
Answer = Written | Deleted | Published
Logged = KeyWritten | KeyDeleted | EventPublished

_NOTHING = Deleted(deleted=False)


@attrs.frozen
class Page:
    """A slice of keys in ascending byte order, true at ``offset``; ``cursor`` None at the end."""

    items: Sequence[Item]
    offset: int
    cursor: str | None = None


class StateDecision(msgspec.Struct, frozen=True):
    """A command that was accepted: the ``record`` to be logged and its ``position`` in the batch;
    or, when nothing is to be logged, the ``answer``."""

    record: Logged | None
    position: int = 0
    answer: Answer = _NOTHING
    repeated: bool = False

    def again(self) -> "StateDecision":
        """See `batch.Repeatable`."""
        return StateDecision(self.record, self.position, self.answer, True)

    def at(self, first_offset: int) -> Answer:
        """The answer once the batch's first record has got ``first_offset``."""
        record = self.record
        if record is None:
            return self.answer
        offset = first_offset + self.position
        if type(record) is KeyWritten:
            return Written(record.key, record.revision, offset, record.expires_at_ms, self.repeated)
        if type(record) is KeyDeleted:
            return Deleted(True, offset, self.repeated)
        return Published(offset, self.repeated)


# No client can know the offset of a write that is not answered yet, so no precondition on it holds.
_NOT_YET_KNOWN = -1
_NO_ITEMS: Mapping[str, Item | None] = {}
_MANY = 16


class StateBatch(batch.Batch[StateDecision]):
    """The commands of one batch, decided in order: ``records`` is what is to be logged."""

    def __init__(
        self,
        lookup: Callable[[str], Item | None],
        operation: Callable[[str], Operation | None],
        now_ms: int,
        *,
        json_bytes_max: int = 2**31,
        admit: Callable[[str], None] = lambda key: None,
        absent: Callable[[Sequence[str]], Set[str]] = lambda keys: frozenset(),
        known: Mapping[str, Item | None] = _NO_ITEMS,
    ) -> None:
        """``admit`` raises Refused for the key of a document that cannot be written now. ``absent``
        tells which of many keys are not there, for less than a lookup of each; what ``known`` says
        after that need not be looked up."""
        super().__init__(operation)
        self.holds_documents = False
        """Whether a record may be of a document, or of the settings of some."""
        self._admit = admit
        self.records: list[Logged] = []
        self.runs: list[Run] = []
        """Which of the records are columns, in order."""
        self._lookup = lookup
        self._find_absent = absent
        self._absent: Set[str] = frozenset()
        self._known = known
        self._now_ms = now_ms
        self._json_bytes_max = json_bytes_max

    def expire(self, keys: Sequence[str]) -> None:
        """Log the end of the keys that are past their time (those written again are not)."""
        for key in keys:
            item = self._stored(key)
            if item is not None and self._is_expired(item):
                self._end(key)

    def decide_each(self, commands: Sequence[Command]) -> list[StateDecision | Refused | Damaged]:
        """As `Batch.decide_each`."""
        if len(commands) >= _MANY:
            # Whoever loads many keys writes mostly new ones. Where one cannot be looked up, that
            # is said of it alone, below.
            with suppress(Damaged):
                self._absent = self._find_absent(
                    [command.key for command in commands if type(command) is Put]
                )
        return super().decide_each(commands)

    def _decide_again(self, operation: Operation) -> StateDecision:
        return StateDecision(None, answer=_answer_again(operation))

    def _decide(self, command: Command | PutMany) -> Any:
        if isinstance(command, Put):
            return self._put(command)
        if isinstance(command, Delete):
            return self._delete(command)
        if isinstance(command, Patch):
            return self._patch(command)
        if isinstance(command, Require):
            return self._require(command)
        if isinstance(command, Configure):
            return self._configure(command)
        if isinstance(command, PutMany):
            return self._put_many(command)
        return self._log(record_of(command, self._fingerprint))

    def _put_many(self, command: PutMany) -> ManyDecision:
        keys, values, records = command.keys, command.values, self.records
        if command.documents is not None:
            self._admit(keys[0])
            self.holds_documents = True
        if self.growth is not None:
            with self._undone_if_refused():
                return self._put_each(keys, values)
        start = len(records)
        run = put_many.decide(
            command, start, self._pending, self._known, self._lookup, self._find_absent
        )
        if run is None:
            with self._undone_if_refused():
                return self._put_each(keys, values)
        made = run.records
        records += made
        self._pending.update(zip(keys, made, strict=True))
        self.runs.append(run)
        return ManyDecision(range(start, len(records)), run.revisions)

    def _put_each(self, keys: Sequence[str], values: Sequence[bytes]) -> ManyDecision:
        positions: list[int] = []
        revisions: list[int] = []
        for key, value in zip(keys, values, strict=True):
            live = self._live(key)
            self._write(key, value, live, None, None)
            positions.append(len(self.records) - 1)
            revisions.append(1 if live is None else live.revision + 1)
        return ManyDecision(positions, revisions)

    def _put(self, command: Put) -> StateDecision:
        if command.key.startswith(reserved_keys.WATCHED):
            self._check_key(command.key)
        live = self._live(command.key)
        check(command.precondition, command.key, live)
        expires_at_ms = self._expiry(command.ttl_ms)
        return self._write(command.key, command.value, live, expires_at_ms, command.op_id)

    def _require(self, command: Require) -> StateDecision:
        problem = unmet(command.precondition, command.key, self._live(command.key))
        if problem is not None:
            raise RevisionMismatch(problem)
        return StateDecision(None)

    def _patch(self, command: Patch) -> StateDecision:
        if command.key.startswith(reserved_keys.WATCHED):
            self._check_key(command.key)
        live = self._live(command.key)
        check(command.precondition, command.key, live)
        value = _merged(None if live is None else live.value, command)
        if len(value) > self._json_bytes_max:
            raise PayloadTooLarge(
                f"the patched value of {command.key!r} would be {len(value)} bytes, the limit is "
                f"{self._json_bytes_max}: split it over several keys, or raise "
                "limits.json_bytes_max (MAX_JSON_BYTES)"
            )
        if command.ttl_ms is not None or live is None:
            expires_at_ms = self._expiry(command.ttl_ms)
        else:
            expires_at_ms = live.expires_at_ms
        return self._write(command.key, value, live, expires_at_ms, command.op_id)

    def _delete(self, command: Delete) -> StateDecision:
        live = self._live(command.key)
        if command.key.startswith(reserved_keys.WATCHED):
            self.holds_documents = True
            if live is None or command.key.startswith(reserved_keys.SETTINGS_PREFIX):
                # A vector manifest that is stored is from before it was reserved, and may go.
                reserved_keys.check_key(command.key)
        check(command.precondition, command.key, live)
        if live is None:
            return StateDecision(None)
        self._forget(command.key, live)
        return self._log(KeyDeleted(command.key, "explicit", command.op_id, self._fingerprint))

    def _configure(self, command: Configure) -> StateDecision:
        self.holds_documents = True
        live = self._live(command.key)
        check(command.precondition, command.key, live)
        if command.value is not None:
            return self._write(command.key, command.value, live, None, command.op_id)
        if live is None:
            return StateDecision(None)
        self._forget(command.key, live)
        return self._log(KeyDeleted(command.key, "explicit", command.op_id, self._fingerprint))

    def _check_key(self, key: str) -> None:
        reserved_keys.check_key(key)
        self._admit(key)
        self.holds_documents = True

    def _write(
        self,
        key: str,
        value: bytes,
        live: Item | None,
        expires_at_ms: int | None,
        op_id: str | None,
    ) -> StateDecision:
        stored = live
        if live is None and key not in self._absent:
            stored = self._stored(key)
        if self.growth is not None:
            self.growth.of_key(key, None if stored is None else stored.value, value)
        if live is None and stored is not None:
            # The old life ends in the log before the new one starts, so that a subscriber sees
            # why the revision restarts.
            self._end(key, counted=True)
        revision = 1 if live is None else live.revision + 1
        record = KeyWritten(key, value, revision, expires_at_ms, op_id, self._fingerprint)
        self._pending[key] = record
        return self._log(record)

    def _log(self, record: Logged) -> StateDecision:
        records = self.records
        records.append(record)
        return StateDecision(record, len(records) - 1)

    def _end(self, key: str, *, counted: bool = False) -> None:
        """``counted``: what it makes free is known to the quotas already."""
        if key.startswith(reserved_keys.WATCHED):
            self.holds_documents = True
        self.records.append(KeyDeleted(key, "ttl"))
        self._forget(key, None if counted else self._stored(key))

    def _forget(self, key: str, stored: Item | None) -> None:
        if self.growth is not None and stored is not None:
            self.growth.of_key(key, stored.value, None)
        self._pending[key] = None

    def _stored(self, key: str) -> Item | None:
        if key not in self._pending:
            return None if key in self._absent else self._lookup(key)
        new = self._pending[key]
        if new is None:
            return None
        return Item(key, new.value, new.revision, _NOT_YET_KNOWN, new.expires_at_ms)

    def _live(self, key: str) -> Item | None:
        item = self._stored(key)
        return None if item is None or self._is_expired(item) else item

    def _is_expired(self, item: Item) -> bool:
        return item.expires_at_ms is not None and item.expires_at_ms <= self._now_ms

    def _expiry(self, ttl_ms: int | None) -> int | None:
        if ttl_ms is None:
            return None
        expires_at_ms = self._now_ms + ttl_ms
        if expires_at_ms > EXPIRES_AT_MS_MAX:
            raise InvalidArgument(
                f"ttl_ms {ttl_ms} lies beyond the end of time: leave it out for no expiry"
            )
        return expires_at_ms


def _merged(target: bytes | None, command: Patch) -> bytes:
    try:
        return merge_patch.apply(target, command.patch)
    except RecursionError:
        raise InvalidArgument(
            f"the patch of {command.key!r} is nested too deeply: put the whole value instead"
        ) from None


def _answer_again(operation: Operation) -> Answer:
    if operation.kind == "put":
        return Written(
            operation.key, operation.revision, operation.offset, operation.expires_at_ms, True
        )
    if operation.kind == "delete":
        return Deleted(True, operation.offset, True)
    return Published(operation.offset, True)
