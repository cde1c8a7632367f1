"""The model of API keys: issued, looked up at every request, revoked with their streams."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import msgspec
import trio

from actors import Address, Workers
from kissvdb import logs
from kissvdb.core.grants import Grants
from kissvdb.core.keys import secret
from kissvdb.core.keys.rules import IssueKey, RevokeKey, RotateKey
from kissvdb.core.keys.view import IssuedKey
from kissvdb.core.quotas import KeyLimits
from kissvdb.engine.asking import answered, submit
from kissvdb.engine.keys.key_store import KeyStore
from kissvdb.engine.keys.owner import KeyOwner
from kissvdb.engine.model import Retain, Target
from kissvdb.engine.owner import Expire
from kissvdb.errors import InvalidArgument, PersistenceFailed, Unauthorized
from kissvdb.records import ApiKeyIssued
from kissvdb.storage.backup import Entry

logger = logging.getLogger("kissvdb.keys")

TICK_SECONDS = 1.0
"""So often the clock is looked at while there is a key with an end: it may be set, or stand still
while the machine sleeps."""
BEHIND_MAX = 10_000
"""So many records of others may follow the file before it is written anew."""
SWEEP_SECONDS = 60.0
"""So often keys that expired long ago are forgotten."""

End = Callable[[str, bytes], str | None]
"""Why a secret of a key works no more, by the key's id and the secret's hash; None: it works."""

_ENDED = {
    "revoked": "this API key was revoked",
    "expired": "this API key expired",
    "rotated": "this API key has another secret now",
}


@attrs.frozen
class NewSecret:
    """A key that was issued or rotated, with its secret text: nobody can tell that again."""

    text: str
    record: ApiKeyIssued
    offset: int


class Keys:
    """All keys. ``view`` is for readers; `authenticate` is on the way of every request."""

    commands = ()
    """None: keys change by the methods here, and in no batch."""

    def __init__(
        self,
        store: KeyStore,
        workers: Workers,
        clock_ms: Callable[[], int],
        *,
        guarded: bool,
    ) -> None:
        """``guarded``: the server has a key in its configuration."""
        self.view = store.view
        self.last_used_ms = store.last_used_ms
        """By id; made durable with the next checkpoint only."""
        self._store = store
        self._workers = workers
        self._clock_ms = clock_ms
        self._guarded = guarded
        self._owner: KeyOwner
        self._address: Address
        self._end_streams: Callable[[End], None]
        self._changed = trio.Event()
        self._saved_used: dict[str, int] = dict(store.last_used_ms)
        self._saving = trio.Lock()

    def open(self, owner: KeyOwner, address: Address, end_streams: Callable[[End], None]) -> None:
        """Whom to ask from now on, and how streams are ended."""
        self._owner, self._address, self._end_streams = owner, address, end_streams

    # For every request

    def authenticate(self, text: str) -> tuple[IssuedKey, bytes] | None:
        """The key that a secret is of, and the secret's hash; None: it was never issued. Raises
        Unauthorized for one that works no more: only who knows it is told."""
        hash_ = secret.hash_of(text, self._store.salt)
        found = self.view.find(text, hash_)
        if found is None:
            return None
        now_ms = self._clock_ms()
        ended = found if isinstance(found, str) else found.end(hash_, now_ms)
        if ended is not None:
            raise Unauthorized(f"{_ENDED[ended]}: ask for a new one")
        assert isinstance(found, IssuedKey)
        self.last_used_ms[found.record.id] = now_ms
        return found, hash_

    def end(self, id_: str, hash_: bytes) -> str | None:
        """See `End`."""
        return self.view.end(id_, hash_, self._clock_ms())

    def check(self, id_: str, hash_: bytes) -> None:
        """Raises Unauthorized unless a secret that was let in still works."""
        ended = self.end(id_, hash_)
        if ended is not None:
            raise Unauthorized(f"{_ENDED[ended]}: ask for a new one")

    # For admins

    async def issue(
        self,
        name: str,
        role: str,
        *,
        scopes: Grants | None = None,
        limits: KeyLimits | None = None,
        permissions: bytes = b"{}",
        ttl_ms: int | None = None,
        expires_at_ms: int | None = None,
    ) -> NewSecret:
        """Let a key be. ``permissions`` is JSON that is kept and means nothing here.

        Raises ServerKeyMissing, Refused at ``limits.keys_max``, and as `Database.write` does.
        """
        id_, now_ms = os.urandom(secret.ID_BYTES).hex(), self._clock_ms()
        if ttl_ms is not None:
            expires_at_ms = now_ms + ttl_ms
        _check_end(expires_at_ms, now_ms)
        text, hash_ = await self._new_secret(id_)
        record = ApiKeyIssued(
            id_,
            name,
            role,
            hash_,
            now_ms,
            None if scopes is None else msgspec.json.encode(scopes.to_json()),
            permissions,
            expires_at_ms,
            limits=None if limits is None else msgspec.json.encode(limits.to_json()),
        )
        return await self._ask(IssueKey(record, self._guarded), text)

    async def rotate(
        self,
        id_: str,
        *,
        grace_ms: int = 0,
        ttl_ms: int | None = None,
        expires_at_ms: int | None = None,
    ) -> NewSecret:
        """Give a key another secret; the old one works for ``grace_ms`` more. Without a new end the
        key keeps its own. Raises NotFound and InvalidArgument."""
        now_ms = self._clock_ms()
        text, hash_ = await self._new_secret(id_)
        end_ms = expires_at_ms if ttl_ms is None else now_ms + ttl_ms
        _check_end(end_ms, now_ms)
        return await self._ask(RotateKey(id_, hash_, now_ms, now_ms + grace_ms, end_ms), text)

    async def revoke(self, id_: str) -> int:
        """Let a key be no more; its streams have ended when this returns the offset.

        Raises NotFound, and ServerKeyMissing for the last key of a server without its own."""
        _, offset = await answered(submit(self._address, RevokeKey(id_, self._guarded)))
        return int(offset)

    async def _new_secret(self, id_: str) -> tuple[str, bytes]:
        text = secret.text_of(id_, os.urandom(secret.RANDOM_BYTES))
        try:
            await self._workers.run(self._store.keep_salt)
        except OSError as error:
            raise PersistenceFailed(f"the salt of API keys cannot be written: {error}") from error
        return text, secret.hash_of(text, self._store.salt)

    async def _ask(self, command: IssueKey | RotateKey, text: str) -> NewSecret:
        record, offset = await answered(submit(self._address, command))
        return NewSecret(text, record, offset)

    def changed(self) -> None:
        """Keys were issued, rotated or revoked: streams end now, not at the next tick."""
        self._end_streams(self.end)
        self._changed.set()

    # As `model.Model` and its one `model.Target`

    name = "keys"
    gone = False

    def route(self, command: Any) -> tuple[Address, Any]:
        return self._address, command

    async def settle(self) -> None:
        """Nothing begins by itself."""

    def targets(self) -> Sequence[Target]:
        return (self,) if self._store.is_durable else ()

    @property
    def durable_offset(self) -> int | None:
        changed_at = self._store.changed_at
        if not self._store.is_durable:
            return None
        return self._owner.true_offset if changed_at is None else changed_at - 1

    @property
    def save_is_due(self) -> bool:
        """Whether the file lacks anything, or is so old that a start would read much of the log."""
        return self._lacks_anything or self._records_behind >= BEHIND_MAX

    @property
    def _lacks_anything(self) -> bool:
        return self._store.changed_at is not None or self.last_used_ms != self._saved_used

    @property
    def _records_behind(self) -> int:
        return self._owner.true_offset - self._store.applied_offset

    async def save(self) -> None:
        async with self._saving:
            if not (self._lacks_anything or self._records_behind):
                return
            store, used = self._store, dict(self.last_used_ms)
            content = store.content(self._owner.true_offset)
            store.changed_again_at = None
            try:
                await self._workers.run(partial(store.write, content))
            except OSError as error:
                raise PersistenceFailed(f"API keys cannot be stored: {error}") from error
            store.changed_at = store.changed_again_at
            store.applied_offset = content.applied_offset
            self._saved_used = used

    async def finish(self) -> None:
        await self.save()

    async def note_files(self, entries: list[Entry]) -> None:
        content = self._store.content(self._owner.true_offset)
        files = await self._workers.run(self._store.note, content)
        entries += [Entry.of_bytes(name, found) for name, found in files]

    async def look_after(self, retain: Retain) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._watch_ends)
            tasks.start_soon(self._sweep)

    async def _watch_ends(self) -> None:
        """End the streams of secrets whose time is over, when it is."""
        while True:
            self._changed = trio.Event()
            end_ms = self.view.next_end_ms(self._clock_ms())
            # After that, so that what ended meanwhile is not passed over.
            self._end_streams(self.end)
            if end_ms is None:
                await self._changed.wait()
                continue
            while not self._changed.is_set() and (left := end_ms - self._clock_ms()) > 0:
                with trio.move_on_after(min(left / 1000, TICK_SECONDS)):
                    await self._changed.wait()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            try:
                if self.view.long_expired(self._clock_ms(), 1):
                    await self._address.ask(Expire())
            except PersistenceFailed as error:
                # They work no more anyway.
                logs.event(logger, logging.WARNING, error.message, trying="to forget expired keys")


def _check_end(expires_at_ms: int | None, now_ms: int) -> None:
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise InvalidArgument(
            f"expires_at_ms: {expires_at_ms} is over: it is {now_ms}, in milliseconds since 1970"
        )
