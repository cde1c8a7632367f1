"""One leader among many programs, who knows when it no longer is."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import msgspec

from kissvdb.client.blocking import net
from kissvdb.client.blocking.http import Http
from kissvdb.client.blocking.loading import batch
from kissvdb.client.blocking.patterns import LOOK_SECS
from kissvdb.client.blocking.state import State
from kissvdb.client.errors import LeaseLost
from kissvdb.client.results import BatchAnswer
from kissvdb.errors import KissError, RequestTimeout, RevisionMismatch

MARGIN = 0.1
"""This part of the lease the leader does not use: clocks may go at other speeds."""
BEATS = 3
"""So often in a lease it is renewed."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds that also pass while the machine sleeps, where it can tell."""
    return time.clock_gettime(_CLOCK)


class Leader:
    """Entering the block waits until this program leads; in it the lease is renewed by itself.

    ``is_leading`` ends before another one can begin, also without a network: the lease is counted
    from before it was asked for, a tenth shorter than the server counts. Look at it before each
    piece of work. What must not happen twice goes through `batch`, which the server refuses when
    there is a newer leader, however late it comes (a pause of this program between looking and
    writing is what no lease can exclude); systems outside compare the `token`, which grows from
    leader to leader. After a crash the next one leads when ``ttl_ms`` is over; at the end of the
    block at once.
    """

    def __init__(self, http: Http, name: str, ttl_ms: int, wait_secs: float | None) -> None:
        self._ttl_ms = ttl_ms
        self._wait_secs = wait_secs
        self._every_secs = ttl_ms / 1000 / BEATS
        self._http = http
        # Own connections with little patience: a renewal that comes too late is none.
        patience = min(http.config.timeout_secs, self._every_secs)
        self._beats = Http(msgspec.structs.replace(http.config, timeout_secs=patience, op_ids=True))
        self._state = State(self._beats)
        self._key, self._fence = f"leader:{name}", f"leader:{name}/fence"
        self._holder = os.urandom(8).hex()
        self._offset: int | None = None
        self._until = 0.0
        # Of a renewal whose answer has not come: its id, and when it was asked for first.
        self._asked: tuple[str, float] | None = None
        self._ticking = net.Ticking()
        self.token = 0
        """The offset at which it began to lead."""

    @property
    def is_leading(self) -> bool:
        """Whether the lease lasts; once False, it stays so."""
        if self._offset is not None and now() >= self._until:
            self._offset = None
        return self._offset is not None

    def check(self) -> None:
        """Raises LeaseLost when it no longer leads."""
        if not self.is_leading:
            raise LeaseLost(f"{self._key}: this program does not lead any more")

    def batch(
        self,
        operations: Sequence[Mapping[str, Any]],
        *,
        preconditions: Sequence[Mapping[str, Any]] = (),
        op_id: str | None = None,
    ) -> BatchAnswer:
        """As ``client.batch``, unless another one has led since: then LeaseLost."""
        self.check()
        fence = {"key": self._fence, "if_offset": self.token}
        try:
            return batch(self._http, operations, [fence, *preconditions], op_id)
        except RevisionMismatch as error:
            if error.precondition != 0:
                raise
            self._offset = None
            raise LeaseLost(f"{self._key}: another one leads: {error.message}") from error

    def try_acquire(self) -> bool:
        """Lead, if nobody does."""
        began = now()
        value = {"holder": self._holder}
        lease = {"op": "put", "key": self._key, "value": value, "ttl_ms": self._ttl_ms}
        fence = {"op": "put", "key": self._fence, "value": value}
        try:
            answer = batch(self._http, [{**lease, "if_revision": 0}, fence])
        except RevisionMismatch:
            return False
        self._hold(began, answer.results[0].offset)
        self.token = answer.results[1].offset or 0
        return True

    def _hold(self, began: float, offset: int | None) -> None:
        self._until = began + self._ttl_ms / 1000 * (1 - MARGIN)
        self._offset = offset

    def _beat(self) -> None:
        offset = self._offset
        if offset is None or not self.is_leading:
            return
        if self._asked is None:
            self._asked = os.urandom(8).hex(), now()
        op_id, began = self._asked
        value = {"holder": self._holder}
        try:
            written = self._state.put(
                self._key, value, ttl_ms=self._ttl_ms, if_offset=offset, op_id=op_id
            )
        except RevisionMismatch:
            self._offset = None
        except KissError:
            # The next beat asks for the same again: it may have been done. What is too late is
            # seen by the clock.
            pass
        else:
            self._asked = None
            if self.is_leading:
                self._hold(began, written.offset)

    def __enter__(self) -> "Leader":
        """Raises RequestTimeout when another one leads for longer than ``wait_secs``."""
        began = net.monotonic()
        while not self.try_acquire():
            waited = net.monotonic() - began
            if self._wait_secs is not None and waited >= self._wait_secs:
                self._beats.close()
                raise RequestTimeout(f"{self._key}: another one leads, for {waited:.1f} s now")
            net.sleep(LOOK_SECS)
        self._ticking.start(self._beat, self._every_secs)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._ticking.close()
        finally:
            offset, self._offset = self._offset, None
            with net.shielded(1.0):
                # What is not given back ends by itself.
                with suppress(KissError):
                    if offset is not None:
                        self._state.delete(self._key, if_offset=offset)
                self._beats.close()
