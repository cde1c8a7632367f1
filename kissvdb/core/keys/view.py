"""All keys there are, by id: what readers look at, built from the records of the log."""

import logging
from hmac import compare_digest

import msgspec

from kissvdb import logs
from kissvdb.core.grants import Grants
from kissvdb.core.keys.secret import HASH_BYTES, id_of
from kissvdb.core.quotas import KeyLimits
from kissvdb.errors import Refused
from kissvdb.records import ApiKeyIssued, KeyRecord

logger = logging.getLogger("kissvdb.keys")

REVOKED_KEPT = 1000
"""Of so many keys that were revoked it is still known that they were."""
EXPIRED_KEPT_MS = 24 * 3600 * 1000
"""For so long after its end a key is listed."""

_NOBODYS = bytes(HASH_BYTES)
"""Compared with where there is nothing to compare with: that must not take less time."""


class IssuedKey(msgspec.Struct, frozen=True):
    """A key: its last record with the offset of that, what it may touch (None: everything), and its
    own limits."""

    record: ApiKeyIssued
    offset: int
    grants: Grants | None
    limits: KeyLimits | None

    @classmethod
    def of(cls, offset: int, record: ApiKeyIssued) -> "IssuedKey":
        return cls(record, offset, _grants(record), _limits(record))

    def end(self, hash_: bytes, now_ms: int) -> str | None:
        """Why a secret of this key works no more: ``expired`` or ``rotated``; None: it works."""
        record = self.record
        if self.expired(now_ms):
            return "expired"
        if hash_ == record.hash:
            return None
        grace = record.former_until_ms
        works = hash_ == record.former_hash and grace is not None and now_ms < grace
        return None if works else "rotated"

    def expired(self, now_ms: int) -> bool:
        """Whether its time is over."""
        expires_at_ms = self.record.expires_at_ms
        return expires_at_ms is not None and expires_at_ms <= now_ms

    def next_end_ms(self, now_ms: int) -> int | None:
        """When one of its secrets stops working by itself; None: never."""
        ends = (self.record.expires_at_ms, self.record.former_until_ms)
        return min((end for end in ends if end is not None and end > now_ms), default=None)


class KeysView:
    """Changed by records only, on the loop; ``keys`` is in the order in which they were issued."""

    def __init__(self) -> None:
        self.keys: dict[str, IssuedKey] = {}
        self.revoked: dict[str, bytes] = {}
        """The hashes of keys that were revoked, the newest of them, by id; behind each, that of the
        secret before it if there was one."""

    def apply(self, offset: int, record: KeyRecord) -> None:
        """Take over what is in the log."""
        if isinstance(record, ApiKeyIssued):
            self.keys[record.id] = IssuedKey.of(offset, record)
            return
        gone = self.keys.pop(record.id, None)
        if gone is not None:
            self.revoked[record.id] = gone.record.hash + (gone.record.former_hash or b"")
            while len(self.revoked) > REVOKED_KEPT:
                del self.revoked[next(iter(self.revoked))]

    def find(self, text: str, hash_: bytes) -> IssuedKey | str | None:
        """The key that a secret is of, or why it is of none any more; None for a secret that was
        never issued. Takes as long for an id that does not exist as for one that does."""
        id_ = id_of(text)
        issued = self.keys.get(id_)
        now = former = _NOBODYS
        if issued is not None:
            now, former = issued.record.hash, issued.record.former_hash or _NOBODYS
        known = compare_digest(hash_, now) | compare_digest(hash_, former)
        gone = self.revoked.get(id_, _NOBODYS)
        gone_now, gone_former = gone[:HASH_BYTES], gone[HASH_BYTES:] or _NOBODYS
        was_revoked = compare_digest(hash_, gone_now) | compare_digest(hash_, gone_former)
        if known:
            return issued
        return "revoked" if was_revoked else None

    def end(self, id_: str, hash_: bytes, now_ms: int) -> str | None:
        """Why a secret of a key works no more; None: it works."""
        issued = self.keys.get(id_)
        return "revoked" if issued is None else issued.end(hash_, now_ms)

    def long_expired(self, now_ms: int, limit: int) -> list[str]:
        """Keys that need not be listed any more. Never the last: without a key, a server that has
        none of its own would be open."""
        horizon = now_ms - EXPIRED_KEPT_MS
        found = [id_ for id_, issued in self.keys.items() if issued.expired(horizon)]
        return found[: min(limit, len(self.keys) - 1)] if found else []

    def next_end_ms(self, now_ms: int) -> int | None:
        """When the next secret stops working by itself; None: none does."""
        ends = (issued.next_end_ms(now_ms) for issued in self.keys.values())
        return min((end for end in ends if end is not None), default=None)

    def records(self) -> list[tuple[int, ApiKeyIssued]]:
        """What `apply` makes the same keys of."""
        return [(issued.offset, issued.record) for issued in self.keys.values()]


def _grants(record: ApiKeyIssued) -> Grants | None:
    """What a key may touch. What this version cannot read allows nothing."""
    if record.scopes is None:
        return None
    try:
        return Grants.from_json(msgspec.json.decode(record.scopes))
    except (Refused, msgspec.DecodeError) as error:
        message = "the scopes of an API key cannot be read: it may touch nothing"
        logs.event(logger, logging.ERROR, message, id=record.id, error=str(error))
        return Grants()


def _limits(record: ApiKeyIssued) -> KeyLimits | None:
    """The limits of a key. What this version cannot read lets it hold nothing."""
    if record.limits is None:
        return None
    try:
        return KeyLimits.from_json(msgspec.json.decode(record.limits))
    except (Refused, msgspec.DecodeError) as error:
        message = "the limits of an API key cannot be read: it may store nothing"
        logs.event(logger, logging.ERROR, message, id=record.id, error=str(error))
        return KeyLimits(rows_max=0, bytes_max=0)
