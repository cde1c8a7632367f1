"""The rules of keys: who may be issued one, and that nobody locks everybody out."""

from typing import Any, Self

import attrs
import msgspec

from kissvdb.core.batch import Batch
from kissvdb.core.keys.view import KeysView
from kissvdb.errors import InvalidArgument, NotFound, Refused, ServerKeyMissing
from kissvdb.records import ApiKeyIssued, ApiKeyRevoked, KeyRecord, Operation

ROLES = ("read", "write", "admin")


class IssueKey(msgspec.Struct, frozen=True):
    """Let a key be. ``guarded``: the server has a key of its own, in its configuration."""

    record: ApiKeyIssued
    guarded: bool
    op_id: None = None


class RotateKey(msgspec.Struct, frozen=True):
    """Give a key another secret; the one before works until ``former_until_ms``. Without
    ``expires_at_ms`` the key ends when it would have."""

    id: str
    hash: bytes
    now_ms: int
    former_until_ms: int
    expires_at_ms: int | None = None
    op_id: None = None


class RevokeKey(msgspec.Struct, frozen=True):
    """Let a key be no more. ``guarded``: as of `IssueKey`."""

    id: str
    guarded: bool
    op_id: None = None


@attrs.frozen
class KeyDecision:
    """What a command came to: the record, and its place among those of the batch."""

    record: KeyRecord
    place: int

    def at(self, first_offset: int) -> tuple[KeyRecord, int]:
        """The record and its offset."""
        return self.record, first_offset + self.place

    def again(self) -> Self:
        """No command of keys has an op_id: there is no repeat."""
        raise AssertionError("a key has no op_id")


class KeyBatch(Batch[KeyDecision]):
    """Decides commands against the keys there are and the batch so far."""

    records: list[Any]

    def __init__(self, view: KeysView, keys_max: int) -> None:
        super().__init__(_no_operation)
        self.records = []
        self._view = view
        self._keys_max = keys_max

    def expire(self, ids: list[str]) -> None:
        """Forget keys whose time is over."""
        for id_ in ids:
            self._add(id_, ApiKeyRevoked(id_, "expired"))

    def _decide(self, command: Any) -> KeyDecision:
        if isinstance(command, IssueKey):
            return self._issue(command)
        found = self._get(command.id)
        if found is None:
            raise NotFound(f"no API key {command.id[:100]!r}: GET /v1/auth/keys lists them")
        if isinstance(command, RotateKey):
            return self._rotate(command, found)
        assert isinstance(command, RevokeKey)
        if not command.guarded and self._count() == 1:
            raise ServerKeyMissing(
                "this is the last API key, and the server has none of its own: without it the "
                "server would be open to everybody who reaches it. Set server.api_key "
                "(RUSTKISS_API_KEY) and start it anew, then revoke this one"
            )
        return self._add(command.id, ApiKeyRevoked(command.id, "explicit"))

    def _decide_again(self, operation: Operation) -> KeyDecision:
        raise AssertionError("a key has no op_id")

    def _issue(self, command: IssueKey) -> KeyDecision:
        count = self._count()
        if not command.guarded and not count:
            raise ServerKeyMissing(
                "the first API key would shut everybody else out, who issued it included: set "
                "server.api_key (RUSTKISS_API_KEY) first and start the server anew; that key may "
                "then issue others"
            )
        if count >= self._keys_max:
            raise Refused(
                f"there are {count} API keys already: revoke some, or raise limits.keys_max "
                "(KISSVDB_LIMITS_KEYS_MAX)"
            )
        return self._add(command.record.id, command.record)

    def _rotate(self, command: RotateKey, found: ApiKeyIssued) -> KeyDecision:
        expires_at_ms = command.expires_at_ms or found.expires_at_ms
        if expires_at_ms is not None and expires_at_ms <= command.now_ms:
            raise InvalidArgument(
                f"API key {found.id!r} expired: give its new secret a time with ttl_ms or "
                "expires_at_ms"
            )
        record = msgspec.structs.replace(
            found,
            hash=command.hash,
            expires_at_ms=expires_at_ms,
            rotated_at_ms=command.now_ms,
            former_hash=found.hash,
            former_until_ms=command.former_until_ms,
        )
        return self._add(found.id, record)

    def _get(self, id_: str) -> ApiKeyIssued | None:
        if id_ in self._pending:
            pending: ApiKeyIssued | None = self._pending[id_]
            return pending
        issued = self._view.keys.get(id_)
        return None if issued is None else issued.record

    def _count(self) -> int:
        keys = self._view.keys
        changes = ((record is not None) - (id_ in keys) for id_, record in self._pending.items())
        return len(keys) + sum(changes)

    def _add(self, id_: str, record: KeyRecord) -> KeyDecision:
        self._pending[id_] = record if isinstance(record, ApiKeyIssued) else None
        self.records.append(record)
        return KeyDecision(record, len(self.records) - 1)


def _no_operation(op_id: str) -> None:
    return None
