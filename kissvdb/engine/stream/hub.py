"""The hub: hears of every committed record and serves the subscribers of the stream.

It keeps one ring of the latest events for all of them and no buffer for any.
"""

from collections.abc import Callable

import attrs

from actors import Envelope
from kissvdb.config import Stream
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.core.events.stream import transient_event
from kissvdb.engine.followers import Committed, Follower
from kissvdb.engine.stream.history import History
from kissvdb.engine.stream.ring import Ring
from kissvdb.engine.stream.subscription import Lease, Pulse, Subscription
from kissvdb.epochs import Epochs
from kissvdb.errors import Overloaded, Stopping


@attrs.frozen
class StreamOnly:
    """A transient event: to be streamed, never logged."""

    event: Publish
    ts_ms: int


class Hub(Follower):
    """Owns the ring. It asks nobody."""

    def __init__(
        self,
        config: Stream,
        history: History,
        epochs: Callable[[], Epochs],
        committed_offset: Callable[[], int],
    ) -> None:
        """``committed_offset``: what the log holds, of which the hub hears a moment later."""
        super().__init__(committed_offset, committed_offset())
        self._config = config
        self._history = history
        self._epochs = epochs
        self.ring = Ring(
            events_max=config.ring_events,
            bytes_max=config.ring_bytes_max,
            last_offset=self.applied_offset,
        )
        self._subscriptions: set[Subscription] = set()
        self._pulse = Pulse()

    async def handle(self, batch: list[Envelope]) -> None:
        await super().handle(batch)
        self._pulse.waiting.unpark_all()

    async def apply(self, committed: Committed) -> None:
        self.ring.extend(committed)

    async def catch_up(self, offset: int) -> None:
        # Each subscription reads for itself what it has not seen.
        self.ring.skip_to(offset)

    async def attend(self, envelope: Envelope) -> None:
        message = envelope.message
        assert isinstance(message, StreamOnly)
        self.ring.append(transient_event(message.event, message.ts_ms))

    async def close(self) -> None:
        self.end_streams()
        await super().close()

    def end_streams(self) -> None:
        """Let every stream finish, and refuse new ones."""
        self._pulse.ended = True
        self._pulse.waiting.unpark_all()

    def end_some(self, end: Callable[[str, bytes], str | None]) -> None:
        """End the streams of API keys that work no more: see `Subscription.end_if`."""
        for each in self._subscriptions:
            each.end_if(end)
        self._pulse.waiting.unpark_all()

    def beat(self) -> None:
        """Make every idle stream send a keep-alive comment."""
        self._pulse.beats += 1
        self._pulse.waiting.unpark_all()

    @property
    def client_count(self) -> int:
        """Streams that are open."""
        return len(self._subscriptions)

    @property
    def lag_max(self) -> int:
        """Offsets between the newest event and the slowest client's place."""
        last = self.ring.last_offset
        # One at the beginning of an epoch without a record is ahead of the newest event.
        return max((max(last - each.offset, 0) for each in self._subscriptions), default=0)

    def subscribe(self, query: StreamQuery, lease: Lease | None = None) -> Subscription:
        """Blobs of SSE frames, from ``query.since`` on, without loss or duplicate. With a ``lease``
        it ends when that does: see `end_some`.

        Raises Overloaded at ``stream.clients_max`` open streams.
        """
        if self._pulse.ended:
            raise Stopping("the server is shutting down: reconnect with your last event id")
        if len(self._subscriptions) >= self._config.clients_max:
            raise Overloaded(
                f"{self._config.clients_max} streams are open already: retry later, or raise "
                "stream.clients_max (KISSVDB_STREAM_CLIENTS_MAX)"
            )
        subscription = Subscription(
            query,
            self.ring,
            self._history,
            self._epochs(),
            self._pulse,
            committed_offset=self._committed_offset,
            send_bytes_max=self._config.send_bytes_max,
            closed=self._subscriptions.discard,
            lease=lease,
        )
        self._subscriptions.add(subscription)
        return subscription


class CurrentHub:
    """The hub that runs now. `make` is for a supervisor, which makes another after a crash."""

    hub: Hub

    def __init__(self, make: Callable[[], Hub]) -> None:
        self._make = make

    def make(self) -> Hub:
        """The hub from now on."""
        self.hub = self._make()
        return self.hub
