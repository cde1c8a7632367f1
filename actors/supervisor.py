"""Start actors in order, restart those that may be, stop all in reverse; strand no asker.

The rules (start order, reverse stop, a limit on restarts in a time) are those of the supervisors
of Erlang/OTP: https://www.erlang.org/doc/system/sup_princ.html
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from .actor import Actor
from .address import Address
from .errors import ActorCrashed, ActorError, MailboxClosed
from .mailbox import Mailbox
from .restart import Restart, RestartBudget, RestartPolicy

logger = logging.getLogger("actors")


class Supervisor:
    """Runs actors in the order in which they were started. Made by `open_supervisor`."""

    def __init__(self, nursery: trio.Nursery, drain_seconds: float) -> None:
        self.drain_seconds = drain_seconds
        self.stopping = False
        self._block = trio.CancelScope()
        self._crashes: list[BaseException] = []
        self._members: list[_Member] = []
        self._nursery = nursery

    async def start(
        self, actor: Actor | Callable[[], Actor], restart: RestartPolicy = Restart.NEVER
    ) -> Address:
        """Open the actor and return its address; what `open` raises comes out as it is.

        A policy that restarts needs a factory, called without arguments for every new actor.
        Raises `MailboxClosed` when the supervisor is stopping.
        """
        if isinstance(actor, Actor):
            if restart.restarts_max:
                raise TypeError(f"to restart {actor.name}, pass a factory: actors are used once")
            assert not any(member.first is actor for member in self._members), "started twice"
            first, factory = actor, None
        else:
            first, factory = actor(), actor
        member = _Member(self, first, factory, restart)
        address: Address = await self._nursery.start(member.run)
        return address

    async def stop(self, address: Address | None = None) -> None:
        """Stop the actor at `address`, or all of them for good, last started first.

        An actor gets no new mail, has ``drain_seconds`` to handle what it has, is cancelled if
        it takes longer, and then has ``drain_seconds`` to close; only then the next is stopped.
        Not cancelled from outside. What has stopped already is left alone. Not for an actor to
        stop itself: it would wait for its own end.
        """
        with trio.CancelScope(shield=True):
            if address is not None:
                for member in [m for m in self._members if m.address is address]:
                    await member.stop()
                return
            self.stopping = True
            while self._members:
                await self._members[-1].stop()

    def add(self, member: "_Member") -> None:
        self._members.append(member)

    def remove(self, member: "_Member") -> None:
        self._members.remove(member)

    def abort(self) -> None:
        """An actor crashed for good: refuse every waiting asker, then cancel everything.

        Not during a stop: there the others still drain, so that one actor's last crash does not
        take the mail of all.
        """
        if not self.stopping:
            self.stopping = True
            for member in reversed(self._members):
                member.cancel()
        self._block.cancel()

    def crashed(self, error: BaseException) -> None:
        self._crashes.append(error)

    def outcome(self, raised: BaseException | None) -> BaseException | None:
        """What leaves the block, given what the block itself raised."""
        if not self._crashes:
            return raised
        # That an actor is gone is a consequence of the crash, and would only hide it.
        if isinstance(raised, BaseExceptionGroup):
            raised = raised.split(ActorError)[1]
        elif isinstance(raised, ActorError):
            raised = None
        errors = [*self._crashes, raised] if raised is not None else self._crashes
        return BaseExceptionGroup("actors crashed", errors)


@asynccontextmanager
async def open_supervisor(*, drain_seconds: float = 5.0) -> AsyncIterator[Supervisor]:
    """A block in which actors run; leaving it, in whatever way, stops them.

    The crash of an actor that is not restarted cancels the block and leaves it in an
    ``ExceptionGroup``, as errors leave a nursery. An error of the block itself leaves it as it
    is. When the block is cancelled from outside, actors still drain, each within
    ``drain_seconds``.
    """
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, drain_seconds)
        try:
            with supervisor._block:
                yield supervisor
        except BaseException as error:
            raised = error
        await supervisor.stop()
    outcome = supervisor.outcome(raised)
    try:
        if outcome is not None:
            raise outcome
    finally:
        # An exception whose traceback holds this frame, which holds the exception: a cycle.
        del raised, outcome


class _Member:
    """One supervised actor: a mailbox that outlives crashes, and whoever now reads it."""

    def __init__(
        self,
        supervisor: Supervisor,
        first: Actor,
        factory: Callable[[], Actor] | None,
        policy: RestartPolicy,
    ) -> None:
        self.mailbox = Mailbox(first.name, first.mailbox_size)
        self.address = Address(self.mailbox)
        self._supervisor = supervisor
        self.first = first
        self._factory = factory
        self._budget = RestartBudget(policy)
        self._scope = trio.CancelScope()
        self._drained = trio.Event()
        self._done = trio.Event()

    async def run(self, task_status: trio.TaskStatus[Address]) -> None:
        started = False
        try:
            with self._scope:
                # Not shielded yet: whoever starts an actor may give up on it.
                await self.first.open()
                if self._supervisor.stopping:
                    await self._close(self.first)
                    raise MailboxClosed(self.mailbox.name)
                self.mailbox.owner = trio.lowlevel.current_task()
                task_status.started(self.address)
                started = True
                self._supervisor.add(self)
                await self._live(self.first)
        except trio.Cancelled:
            raise
        except BaseException as error:
            if not started:
                raise
            self._supervisor.crashed(error)
        finally:
            self._end()
            if started:
                self._supervisor.remove(self)

    async def stop(self) -> None:
        itself = self.mailbox.owner is trio.lowlevel.current_task()
        assert not itself, f"{self.mailbox.name} stops itself: a deadlock"
        self.mailbox.close()
        with trio.move_on_after(self._supervisor.drain_seconds):
            await self._drained.wait()
        if not self._drained.is_set():
            logger.warning(
                "%s did not drain within %g s and is cancelled",
                self.mailbox.name,
                self._supervisor.drain_seconds,
            )
            self.cancel()
        await self._done.wait()

    def cancel(self) -> None:
        self.mailbox.close()
        self.mailbox.refuse_all(self._stopped)
        self._scope.cancel()

    async def _live(self, actor: Actor) -> None:
        """Serve, and after each crash that the policy forgives, serve with a fresh actor."""
        while True:
            try:
                await self._serve(actor)
                return
            except Exception as error:
                if self.mailbox.closed or self._factory is None:
                    raise
                logger.warning("%s crashed and is restarted", actor.name, exc_info=error)
            actor = await self._reopen(self._factory)

    async def _reopen(self, factory: Callable[[], Actor]) -> Actor:
        while True:
            try:
                actor = factory()
                await actor.open()
            except Exception as error:
                self._crash(error)
                if self.mailbox.closed:
                    raise
                logger.warning("%s failed to open again", self.mailbox.name, exc_info=error)
            else:
                return actor

    async def _serve(self, actor: Actor) -> None:
        mailbox = self.mailbox
        try:
            if not self._scope.shield:
                # A start that was cancelled meanwhile ends here; from now on only stop() and
                # crashes end the actor, so that it can drain when the block is cancelled.
                await trio.lowlevel.checkpoint_if_cancelled()
                self._scope.shield = True
            actor._mailbox = mailbox
            while batch := await mailbox.receive(actor.batch_max):
                await actor.handle(batch)
                mailbox.settle()
        except BaseException as error:
            cancelled = _is_cancellation(error)
            if cancelled:
                self.cancel()
            else:
                self._crash(error)
            await self._close(actor, crashed=not cancelled)
            raise
        self._drained.set()
        await self._close(actor)

    def _crash(self, error: BaseException) -> None:
        """Refuse everybody; close the mailbox for good unless the policy allows a restart."""

        def make_error(delivered: bool) -> BaseException:
            refusal = ActorCrashed(self.mailbox.name, delivered=delivered)
            refusal.__cause__ = error
            return refusal

        self.mailbox.crashes += 1
        restarted = (
            isinstance(error, Exception)
            and not self.mailbox.closed
            and self._budget.spend(trio.current_time())
        )
        if not restarted:
            self.mailbox.close(make_error)
        self.mailbox.refuse_all(make_error)
        if not restarted:
            self._supervisor.abort()

    async def _close(self, actor: Actor, *, crashed: bool = False) -> None:
        limit_seconds = self._supervisor.drain_seconds
        try:
            with trio.move_on_after(limit_seconds, shield=True) as closing:
                await actor.close()
        except Exception as error:
            if not crashed:
                raise
            logger.error("%s crashed, and failed to close", actor.name, exc_info=error)
        if closing.cancelled_caught:
            logger.warning("%s did not close within %g s", actor.name, limit_seconds)

    def _stopped(self, delivered: bool) -> BaseException:
        return MailboxClosed(self.mailbox.name, delivered=delivered)

    def _end(self) -> None:
        self.mailbox.close()
        self.mailbox.refuse_all(self._stopped)
        self._drained.set()
        self._done.set()


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
