"""What tests of actors need: run one, stand in for its neighbour, hold a step."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from .actor import Actor
from .address import Address
from .mailbox import Envelope
from .restart import Restart, RestartPolicy
from .supervisor import open_supervisor


@asynccontextmanager
async def running(
    actor: Actor | Callable[[], Actor],
    *,
    restart: RestartPolicy = Restart.NEVER,
    drain_seconds: float = 5.0,
) -> AsyncIterator[Address]:
    """One actor under a supervisor of its own: ``async with running(actor) as address``."""
    async with open_supervisor(drain_seconds=drain_seconds) as supervisor:
        yield await supervisor.start(actor, restart=restart)


class Gate:
    """Hold whoever comes to it until it is opened; tests use it to order steps."""

    def __init__(self, *, opened: bool = False) -> None:
        self.passed = 0
        """How often somebody went through."""
        self._opened = opened
        self._lot = trio.lowlevel.ParkingLot()
        self._arrival = trio.lowlevel.ParkingLot()

    @property
    def waiting(self) -> int:
        """How many tasks the gate holds."""
        return len(self._lot)

    async def pass_(self) -> None:
        """Go through, as soon as the gate is open. Always a checkpoint."""
        if self._opened:
            await trio.lowlevel.checkpoint()
        else:
            self._arrival.unpark_all()
            await self._lot.park()
        self.passed += 1

    def open(self) -> None:
        """Let through all who wait, and all who come."""
        self._opened = True
        self._lot.unpark_all()

    def open_once(self) -> None:
        """Let through the one who has waited longest; the gate stays shut."""
        self._lot.unpark(count=1)

    def shut(self) -> None:
        """Hold all who come from now on."""
        self._opened = False

    async def wait_held(self, count: int = 1) -> None:
        """Return when the gate holds at least `count` tasks."""
        while len(self._lot) < count:
            await self._arrival.park()


@attrs.frozen
class Crash:
    """A step of a script: let `error` escape ``handle``."""

    error: Exception


_UNEXPECTED = object()


class ScriptedActor(Actor):
    """Stands in for a neighbour: answers by a script and remembers what it was sent.

    Each message takes the next step: an exception refuses it, a `Crash` crashes, a callable is
    called with the message and its result is the step (what it raises refuses), anything else
    is the answer. After the last step every message gets `otherwise`; without it, one
    message more than there are steps is a crash. With a `gate`, each batch waits there first.
    """

    def __init__(
        self,
        *steps: Any,
        otherwise: Any = _UNEXPECTED,
        gate: Gate | None = None,
        name: str = "ScriptedActor",
    ) -> None:
        self.name = name
        self.batches: list[list[Any]] = []
        """The messages of each batch, recorded when the batch arrives."""
        self.calls: list[str] = []
        """"open", "handle" for each batch, and "close", in order."""
        self._steps = deque(steps)
        self._otherwise = otherwise
        self._gate = gate

    @property
    def messages(self) -> list[Any]:
        """All messages, in order."""
        return [message for batch in self.batches for message in batch]

    async def open(self) -> None:
        self.calls.append("open")

    async def handle(self, batch: list[Envelope]) -> None:
        self.calls.append("handle")
        self.batches.append([envelope.message for envelope in batch])
        if self._gate is not None:
            await self._gate.pass_()
        for envelope in batch:
            self._play(envelope)

    async def close(self) -> None:
        self.calls.append("close")

    def _play(self, envelope: Envelope) -> None:
        step = self._steps.popleft() if self._steps else self._otherwise
        assert step is not _UNEXPECTED, f"{self.name} was not told what to do: {envelope.message}"
        if callable(step):
            try:
                step = step(envelope.message)
            except Exception as error:
                step = error
        if isinstance(step, Crash):
            raise step.error
        if isinstance(step, BaseException):
            envelope.refuse(step)
        else:
            envelope.answer(step)
