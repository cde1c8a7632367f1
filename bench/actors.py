"""What does a message to an actor cost, and a job in a thread?

Times are microseconds for one operation, everything included, as the number of clients that ask
at once grows. `park` is the floor: a task that parks itself and is woken, with no actor at all.
"""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

# Import from the root instead of from here: actors.py beside this file is this file.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import trio

from actors import Actor, Address, Envelope, Workers, WorkerThread, open_supervisor
from bench.load import options, report

PIPELINE = 10
"""Messages that a client submits before it waits for the first answer."""

Client = Callable[[int], Awaitable[None]]
"""Does that many operations, one after the other."""


@attrs.frozen
class Subject:
    """One thing to measure."""

    group: str
    name: str
    client: Client
    operations: int
    """In one round, shared by all clients."""
    beside: Callable[[], Awaitable[None]] | None = None
    """Runs as long as the clients do."""


class Echo(Actor):
    """Answers each message with itself."""

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            envelope.answer(envelope.message)


class Bell:
    """Wakes all who parked since the last time, again and again."""

    def __init__(self) -> None:
        self._parked: list[trio.lowlevel.Task] = []

    async def park(self, count: int) -> None:
        for _ in range(count):
            self._parked.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)

    async def ring(self) -> None:
        while True:
            parked, self._parked = self._parked, []
            for task in parked:
                trio.lowlevel.reschedule(task)
            await trio.lowlevel.checkpoint()


async def serve_channel(receive: trio.MemoryReceiveChannel[tuple[trio.Event, list[int]]]) -> None:
    """The usual way without a kit: a memory channel, and an Event for each answer."""
    async for done, box in receive:
        box.append(1)
        done.set()


def actor_clients(address: Address) -> Mapping[str, Client]:
    async def ask(count: int) -> None:
        for n in range(count):
            await address.ask(n)

    async def submit(count: int) -> None:
        for _ in range(count // PIPELINE):
            for reply in [address.submit(n) for n in range(PIPELINE)]:
                await reply.wait()

    async def tell(count: int) -> None:
        for n in range(count):
            await address.tell(n)

    return {"ask": ask, f"submit {PIPELINE}": submit, "tell": tell}


async def make_subjects(stack: AsyncExitStack, operations: int) -> list[Subject]:
    """Start what the subjects need; it ends with the stack."""
    supervisor = await stack.enter_async_context(open_supervisor())
    address = await supervisor.start(Echo())
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)
    send, receive = trio.open_memory_channel[tuple[trio.Event, list[int]]](1024)
    nursery.start_soon(serve_channel, receive)
    thread = await stack.enter_async_context(WorkerThread("bench"))
    workers = Workers(64)

    async def channel(count: int) -> None:
        for _ in range(count):
            done: trio.Event = trio.Event()
            box: list[int] = []
            await send.send((done, box))
            await done.wait()

    async def thread_job(count: int) -> None:
        for _ in range(count):
            await thread.run(int)

    async def workers_job(count: int) -> None:
        for _ in range(count):
            await workers.run(int)

    messages = {**actor_clients(address), "channel and Event": channel}
    jobs = {"WorkerThread": thread_job, "Workers": workers_job}
    bell = Bell()
    return [
        Subject("message", "park", bell.park, operations, beside=bell.ring),
        *(Subject("message", name, client, operations) for name, client in messages.items()),
        *(Subject("job", name, client, operations // 10) for name, client in jobs.items()),
    ]


async def measure(subject: Subject, clients: int) -> float:
    """Microseconds for one operation."""
    each = max(PIPELINE, subject.operations // clients)
    async with trio.open_nursery() as outer:
        if subject.beside is not None:
            outer.start_soon(subject.beside)
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(subject.client, each)
        seconds = time.perf_counter() - started
        outer.cancel_scope.cancel()
    return seconds / (each * clients) * 1e6


async def run(arguments: argparse.Namespace) -> list[report.Cell]:
    cells = []
    async with AsyncExitStack() as stack:
        subjects = await make_subjects(stack, arguments.operations)
        for number in range(arguments.rounds):
            for clients in arguments.clients:
                # Each round starts with another subject, so that none is always first.
                turn = number % len(subjects)
                for subject in subjects[turn:] + subjects[:turn]:
                    place = report.Place(subject.group, subject.name, clients)
                    found = {"us": await measure(subject, clients)}
                    cells.append(report.Cell(place, number, found))
    return cells


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--rounds", type=options.positive, default=7)
    command.add_argument("--operations", type=options.positive, default=20_000)
    command.add_argument("--clients", type=options.numbers, default=[1, 8, 64])
    arguments = command.parse_args()
    cells = trio.run(run, arguments)
    cells.sort(key=lambda cell: (cell.place.group != "message", cell.place.target))
    report.print_report(cells, {"us": "us"})
    found = report.ratios([cell for cell in cells if cell.place.group == "message"], "ask", "us")
    report.print_ratios(found)
    about = report.machine(Path(), "none")
    print(f"saved {report.save('actors', about=about, servers=(), cells=cells, found=found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
