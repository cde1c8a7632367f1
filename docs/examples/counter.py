"""A counter that many tasks share without a lock. Run it: python docs/examples/counter.py"""

import attrs
import trio

from actors import Actor, Envelope, open_supervisor


@attrs.frozen
class Add:
    """Answers the new total, or refuses with OverLimit and changes nothing."""

    amount: int


@attrs.frozen
class Total:
    """Answers the total."""


class OverLimit(Exception):
    """The total would exceed the counter's limit."""


class Counter(Actor):
    """Owns one number. Nobody else can touch it, so check and change need no lock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            match envelope.message:
                case Add(amount) if self.total + amount > self.limit:
                    envelope.refuse(OverLimit(f"{self.total} + {amount} > {self.limit}"))
                case Add(amount):
                    self.total += amount
                    envelope.answer(self.total)
                case Total():
                    envelope.answer(self.total)


async def main() -> None:
    async with open_supervisor() as supervisor:
        counter = await supervisor.start(Counter(limit=1000))

        async def add_often() -> None:
            for _ in range(100):
                await counter.ask(Add(1))

        async with trio.open_nursery() as clients:
            for _ in range(10):
                clients.start_soon(add_often)

        print("total:", await counter.ask(Total()))
        try:
            await counter.ask(Add(1))
        except OverLimit as refusal:
            print("refused:", refusal)
        print("messages:", counter.statistics().handled)


if __name__ == "__main__":
    trio.run(main)
