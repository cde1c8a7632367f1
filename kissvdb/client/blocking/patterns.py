"""What many programs build of keys: a lock with a lease, the progress of a job."""

import os
from types import TracebackType
from typing import Any

from kissvdb.client.blocking import net
from kissvdb.client.blocking.state import State
from kissvdb.errors import RequestTimeout, RevisionMismatch

LOOK_SECS = 0.25
"""How often who waits for a lock looks again."""
TOLD_SECS = 0.1
"""Progress is written at most so often."""


class Lock:
    """One holder at a time of ``lock:<name>``, for at most ``ttl_ms`` unless it `extend`s.

    After a crash of the holder it is free when that time is over. A holder that was too slow does
    not know it: what it writes elsewhere should carry the `token`, which grows from holder to
    holder, so that the other side can refuse an older one (a fencing token).
    """

    def __init__(
        self, state: State, name: str, ttl_ms: int, wait_secs: float | None = None
    ) -> None:
        """``wait_secs``: how long to wait for another holder; None: for ever."""
        self._state = state
        self._key = f"lock:{name}"
        self._ttl_ms = ttl_ms
        self._wait_secs = wait_secs
        self._holder = os.urandom(8).hex()
        self._offset: int | None = None
        self.token = 0
        """The offset at which it was taken."""

    def acquire(self) -> int:
        """Take it; the `token`. Raises RequestTimeout when another one kept it for too long."""
        began = net.monotonic()
        while not self.try_acquire():
            waited = net.monotonic() - began
            if self._wait_secs is not None and waited >= self._wait_secs:
                raise RequestTimeout(f"{self._key}: somebody else has it, for {waited:.1f} s now")
            net.sleep(LOOK_SECS)
        return self.token

    def try_acquire(self) -> bool:
        """Take it if it is free."""
        try:
            written = self._state.put(
                self._key, {"holder": self._holder}, ttl_ms=self._ttl_ms, if_revision=0
            )
        except RevisionMismatch:
            return False
        self._offset = self.token = written.offset
        return True

    def extend(self) -> None:
        """Hold it for another ``ttl_ms`` from now on. Raises RevisionMismatch when it is lost."""
        written = self._state.put(
            self._key, {"holder": self._holder}, ttl_ms=self._ttl_ms, if_offset=self._held()
        )
        self._offset = written.offset

    def release(self) -> bool:
        """Give it back; False if it was lost before."""
        offset, self._offset = self._held(), None
        try:
            return (self._state.delete(self._key, if_offset=offset)).deleted
        except RevisionMismatch:
            return False

    def _held(self) -> int:
        if self._offset is None:
            raise RuntimeError(f"{self._key} is not held: acquire it first")
        return self._offset

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._offset is not None:
            self.release()


class JobProgress:
    """A job's progress in a key, ``{"state", "done", "of", "note"}``, for who watches the stream.

    The end of the block writes the last state, ``done`` or ``failed``. A job that dies leaves
    ``running``; with ``ttl_ms`` the key goes away when the job has told nothing for so long.
    """

    def __init__(self, state: State, key: str, of: int | None, ttl_ms: int | None) -> None:
        self._state = state
        self._key = key
        self._ttl_ms = ttl_ms
        self._value: dict[str, Any] = {"state": "running", "done": 0, "of": of}
        self._told = 0.0

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """So much more is done. Written now and then, not each time."""
        self._value["done"] += count
        if note is not None:
            self._value["note"] = note
        if net.monotonic() - self._told >= TOLD_SECS:
            self._tell()

    def _tell(self) -> None:
        self._told = net.monotonic()
        self._state.put(self._key, self._value, ttl_ms=self._ttl_ms)

    def __enter__(self) -> "JobProgress":
        self._tell()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._value["state"] = "done" if error is None else "failed"
        if error is not None:
            self._value["error"] = str(error)[:1000]
        self._tell()
