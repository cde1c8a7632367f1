"""A one-shot answer, from whoever does the work to the one task that asked for it."""

from __future__ import annotations

from collections.abc import Callable, MutableSet
from typing import Any

import trio


class Reply:
    """The answer to one message: set once, waited for by at most one task or one callback.

    Belongs to the Trio thread. An asker who leaves is tolerated: what is set afterwards is
    dropped. The same holds after `revoke`, so work that ends after its actor was stopped may
    still answer, in vain.
    """

    __slots__ = (
        "_callback",
        "_error",
        "_ledger",
        "_spoken",
        "_taken",
        "_task",
        "_value",
        "abandoned",
        "note",
        "settled",
    )

    def __init__(self) -> None:
        self.settled = False
        """Nobody waits any more: the answer is there, or the asker left."""
        self.abandoned = False
        """The asker was cancelled while it waited."""
        self.note: Any = None
        """What the asker gives along for whoever answers; nobody looks at it here."""
        self._spoken = False
        self._taken = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._task: trio.lowlevel.Task | None = None
        self._callback: Callable[[], None] | None = None
        self._ledger: MutableSet[Reply] | None = None

    @property
    def answered(self) -> bool:
        """True once `set`, `fail` or `revoke` was called."""
        return self._spoken or (self.settled and not self.abandoned)

    def set(self, value: Any = None) -> None:
        """Answer with `value`. Answering twice is a bug and fails an assertion."""
        assert not self._spoken, "answered twice"
        self._spoken = True
        if not self.settled:
            self._value = value
            self._settle()

    def fail(self, error: BaseException) -> None:
        """Answer with an error that `wait` raises. Use one exception object per asker."""
        assert not self._spoken, "answered twice"
        self._spoken = True
        if not self.settled:
            self._error = error
            self._settle()

    def revoke(self, error: BaseException) -> None:
        """Fail with `error` unless it was answered before; later answers are dropped."""
        if not self.settled:
            self._error = error
            self._settle()

    def owe(self, ledger: MutableSet[Reply]) -> None:
        """Stay in `ledger` until somebody answers or the asker leaves."""
        self._ledger = ledger
        ledger.add(self)

    async def wait(self) -> Any:
        """Return the value or raise the error; at once, without a checkpoint, when it is there.

        One task may wait, once. Cancelling it abandons the answer for good, never the work.
        """
        if not self.settled:
            self._assert_free()
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        return self.take()

    def call(self, callback: Callable[[], None]) -> None:
        """Instead of waiting: have ``callback()`` called once the answer is there, which may be
        now. It then uses `take`. It runs within the answering actor, so it must be short and must
        not raise."""
        self._assert_free()
        if self.settled:
            callback()
        else:
            self._callback = callback

    def take(self) -> Any:
        """The value, or the error raised, once it is there; once."""
        assert self.settled, "there is no answer yet"
        assert not self._taken, "a reply is waited for once"
        assert not self.abandoned, "a reply is waited for once"
        self._taken = True
        # Moved out: an exception kept here would hold its traceback, which holds this reply.
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error

    def abandon(self) -> None:
        """The asker leaves: what is answered from now on is dropped, and nobody is called.
        Without effect once the answer is there."""
        if self.settled:
            return
        self._task = self._callback = None
        self.settled = self.abandoned = True
        if self._ledger is not None:
            self._ledger.discard(self)

    def _leave(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.abandon()
        return trio.lowlevel.Abort.SUCCEEDED

    def _assert_free(self) -> None:
        assert self._task is None, "a reply has one waiter"
        assert self._callback is None, "a reply has one waiter"

    def _settle(self) -> None:
        self.settled = True
        if self._ledger is not None:
            self._ledger.discard(self)
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None
        elif self._callback is not None:
            callback, self._callback = self._callback, None
            callback()
