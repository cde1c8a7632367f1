"""Pushing: one task that serves many live subscriptions, in place of a task for each.

A thousand tasks that wake, take the same blob and send it cost mostly the waking. A subscription
that is live, and whose sink takes what it is given, needs no task: the pusher takes its next
blob (the ring joins it once for all who wait for the same) and hands it over in a plain loop.
A sink that cannot take all of it leaves the loop and catches up by itself, from its cursor.
"""

import time
from typing import Protocol

import trio

from kissvdb.engine.stream.subscription import Pulse, Subscription

PAUSE_SECS_MIN = 0.0005
"""Rounds shorter than this follow each other without a pause."""

TURN_SECS_MAX = 0.002
"""Longer rounds are done in such turns, with a pause behind each. What is published meanwhile goes
out with the next turn: an event waits for one round at most, wherever in it it came."""


class Sink(Protocol):
    """Where a pushed subscription's blobs go. Called on the loop; must not wait."""

    def push(self, blob: bytes) -> bool:
        """Send ``blob``. False: not all of it went. The sink has left the pusher, and in a task
        of its own sends the rest, catches up (`Subscription.catch_up`), and joins again."""

    def fall_behind(self) -> None:
        """The ring has lost the cursor's place: the sink has left and must catch up likewise."""

    def end(self) -> None:
        """The stream is over."""


class Pusher:
    """Pushes to all sinks of one pulse (one life of the hub)."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._sinks: dict[Subscription, Sink] = {}

    @property
    def sink_count(self) -> int:
        """How many sinks have joined and not left."""
        return len(self._sinks)

    def join(self, subscription: Subscription, sink: Sink) -> None:
        """Push from now on. Only with nothing awaited since `Subscription.catch_up` said that
        it is live."""
        self._sinks[subscription] = sink

    def leave(self, subscription: Subscription) -> None:
        """Push no more; the cursor stays where it is. Leaving twice is fine."""
        self._sinks.pop(subscription, None)

    async def run(self) -> None:
        """Push until the streams end.

        Takes at most half of the loop's time: while it pauses, events gather into larger blobs
        and everybody else gets their turn.
        """
        try:
            while not self._pulse.ended:
                if not await self._push_round():
                    await self._pulse.waiting.park()
        finally:
            sinks = list(self._sinks.values())
            self._sinks.clear()
            for sink in sinks:
                sink.end()

    async def _push_round(self) -> bool:
        """Give everyone the next blob. False when nobody has anything left to take."""
        busy = paused = False
        clock = time.perf_counter
        began = clock()
        for subscription, sink in list(self._sinks.items()):
            if paused and subscription not in self._sinks:
                continue
            blob = subscription.next_nowait()
            if blob is None:
                self.leave(subscription)
                sink.fall_behind()
            elif blob:
                busy = True
                if not sink.push(blob):
                    self.leave(subscription)
            elif not subscription.is_live:
                busy = True
            spent = clock() - began
            if spent > TURN_SECS_MAX:
                await trio.sleep(spent)
                # Those who had their blob may have something to take again.
                busy = paused = True
                began = clock()
        if busy:
            spent = clock() - began
            await trio.sleep(spent if spent > PAUSE_SECS_MIN else 0)
        return busy


class Pushers:
    """The pusher of each pulse, started in ``nursery`` when the first sink asks for it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._by_pulse: dict[Pulse, Pusher] = {}

    @property
    def sink_count(self) -> int:
        """Subscriptions that are pushed now: live, and no slower than the events."""
        return sum(pusher.sink_count for pusher in self._by_pulse.values())

    def of(self, subscription: Subscription) -> Pusher:
        """The one running pusher that serves this subscription's hub."""
        pulse = subscription.pulse
        pusher = self._by_pulse.get(pulse)
        if pusher is None:
            pusher = self._by_pulse[pulse] = Pusher(pulse)
            self._nursery.start_soon(self._run, pulse, pusher)
        return pusher

    async def _run(self, pulse: Pulse, pusher: Pusher) -> None:
        try:
            await pusher.run()
        finally:
            del self._by_pulse[pulse]
