"""The async methods of the bridges: the plain client in a thread, on Trio and on asyncio.

A thread and not `AsyncClient`: the objects that frameworks share are used from several event loops,
one after the other or at once, and a connection belongs to one of them.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run it in a thread. Who is cancelled waits for its end, so that its outcome is known."""
    return await anyio.to_thread.run_sync(partial(call, *args, **kwargs))


async def each_in_thread(
    make: Callable[P, Iterator[T]], *args: P.args, **kw: P.kwargs
) -> AsyncIterator[T]:
    """The items of an iterator that asks the server now and then."""
    items = iter(make(*args, **kw))
    while True:
        # A StopIteration does not come through a thread, so the end is a value.
        found = await in_thread(_next, items)
        if not found:
            return
        yield found[0]


def _next(items: Iterator[T]) -> tuple[T] | tuple[()]:
    for item in items:
        return (item,)
    return ()
