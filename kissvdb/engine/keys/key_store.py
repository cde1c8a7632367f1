"""The keys as they are opened: read from their file, then brought up to date from the log.

The file may be older than the log's first record: see `KeyReplay.applied_offset`.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kissvdb import logs
from kissvdb.core.keys.secret import SALT_BYTES
from kissvdb.core.keys.view import KeysView
from kissvdb.errors import Damaged
from kissvdb.records import ApiKeyIssued, ApiKeyRevoked, KeyRecord, Record
from kissvdb.storage import keys as files

logger = logging.getLogger("kissvdb.keys")


class Content(msgspec.Struct, frozen=True, array_like=True):
    """What keys.bin holds: all that the log says of keys up to ``applied_offset``, and when each
    was last used."""

    applied_offset: int
    keys: list[tuple[int, ApiKeyIssued]]
    revoked: dict[str, bytes]
    last_used_ms: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Content).decode


class KeyStore:
    """The keys of one database. ``directory`` None: in memory. Raises Damaged.

    Sync; what touches the disk is for a thread.
    """

    def __init__(self, directory: Path | None) -> None:
        self.view = KeysView()
        self.last_used_ms: dict[str, int] = {}
        self.applied_offset = 0
        """Of the file: 0 when there is none."""
        self.changed_at: int | None = None
        """The first record that the file does not hold."""
        self.changed_again_at: int | None = None
        """The first record that the file that is being written will not hold."""
        self._directory = directory
        self._salt_stored = directory is None
        salt = None
        if directory is not None:
            salt = files.read_salt(directory, SALT_BYTES)
            self._salt_stored = salt is not None
            self._read(directory)
        self.salt = os.urandom(SALT_BYTES) if salt is None else salt

    def _read(self, directory: Path) -> None:
        content = files.read(directory)
        if content is None:
            return
        try:
            found = _decode(content)
        except msgspec.DecodeError as error:
            raise Damaged(f"{directory / files.KEYS_NAME} cannot be read: {error}") from None
        self.applied_offset = found.applied_offset
        for offset, record in found.keys:
            self.view.apply(offset, record)
        self.view.revoked.update(found.revoked)
        self.last_used_ms.update(found.last_used_ms)

    @property
    def is_durable(self) -> bool:
        """Whether there are files."""
        return self._directory is not None

    def replay_view(self, first_offset: int) -> "KeyReplay":
        """What the log, which begins at ``first_offset``, is fed to."""
        return KeyReplay(self, first_offset)

    def check_salt(self) -> None:
        """Once the log was read: say it if the salt of keys that there are is gone."""
        if self.view.keys and not self._salt_stored:
            message = "keys.salt is missing: no API key works any more; rotate them, or restore it"
            logs.event(logger, logging.ERROR, message)

    def keep_salt(self) -> None:
        """Make the salt durable, before the first key is: else that would not work after a crash.
        Raises OSError."""
        if not self._salt_stored:
            assert self._directory is not None
            files.write_salt(self._directory, self.salt)
            self._salt_stored = True

    def apply(self, offset: int, record: KeyRecord) -> None:
        """Take over what is in the log."""
        if self.changed_at is None:
            self.changed_at = offset
        if self.changed_again_at is None:
            self.changed_again_at = offset
        self.view.apply(offset, record)

    def content(self, applied_offset: int) -> Content:
        """What is to be written, as it is now. ``applied_offset``: the view holds all up to it."""
        view = self.view
        used = {id_: at for id_, at in self.last_used_ms.items() if id_ in view.keys}
        return Content(applied_offset, view.records(), dict(view.revoked), used)

    def write(self, content: Content) -> None:
        """Make it the file. Raises OSError."""
        assert self._directory is not None
        # The one is never there without the other.
        self.keep_salt()
        files.write(self._directory, _encode(content))

    def note(self, content: Content) -> tuple[tuple[str, bytes], ...]:
        """The files of a backup, by name; none before the first are stored."""
        if not self._salt_stored:
            return ()
        return (files.KEYS_NAME, files.packed(_encode(content))), (files.SALT_NAME, self.salt)


class KeyReplay:
    """A `recovery.View` of the keys."""

    kinds = (ApiKeyIssued, ApiKeyRevoked)

    def __init__(self, store: KeyStore, first_offset: int) -> None:
        self._store = store
        self._first_offset = first_offset
        self._applied = 0

    @property
    def applied_offset(self) -> int:
        """Up to where nothing is missing. The log only lets go of records that the file holds, but
        the file is not written anew while there is nothing new of keys: so where the log begins,
        everything before is in the file."""
        return max(self._store.applied_offset, self._first_offset - 1, self._applied)

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        store = self._store
        for offset, record in records:
            if isinstance(record, (ApiKeyIssued, ApiKeyRevoked)) and offset > store.applied_offset:
                store.apply(offset, record)
        self._applied = upto
