"""Streamed answers (SSE above all) on lane connections: pushed where possible."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

from kissvdb.api.frame.http import StreamResponse
from kissvdb.engine.stream.push import Pusher
from kissvdb.engine.stream.subscription import Subscription
from kissvdb.errors import KissError
from kissvdb.lane.body_stream import BodyStream
from kissvdb.lane.head import Head
from kissvdb.lane.response import LAST_CHUNK, Clock, encode_chunk, encode_stream_head
from kissvdb.lane.transport import Phase, Transport

log = logging.getLogger(__name__)


class ChunkCache:
    """Remembers the last blob's chunk: a push hands one blob to every sink in turn."""

    def __init__(self) -> None:
        self.blob = b""
        """The last blob."""
        self.made = b""
        """Its chunk."""

    def chunk(self, blob: bytes) -> bytes:
        """``blob`` as one chunk. A blob is the same when it is the same object."""
        if blob is not self.blob:
            self.blob, self.made = blob, encode_chunk(blob)
        return self.made


class StreamSender:
    """Sends one streamed answer's body over a connection.

    ``lives_on``: it needs no task any more, until `over` is called.
    """

    __slots__ = ("_cache", "_chunked", "_whole", "lives_on", "scope", "transport")

    def __init__(self, transport: Transport, *, chunked: bool, cache: ChunkCache) -> None:
        self.transport = transport
        self.scope: trio.CancelScope | None = trio.CancelScope()
        self.lives_on = False
        self._chunked = chunked
        self._cache = cache
        self._whole = True

    def frame(self, blob: bytes) -> bytes:
        """``blob`` as it goes onto the wire."""
        return self._cache.chunk(blob) if self._chunked else blob

    async def send(self, blob: bytes) -> None:
        """Send a blob that is not empty, waiting if need be."""
        self._whole = False
        await self.transport.send(self.frame(blob))
        self._whole = True

    async def run_beside(self, request_body: BodyStream, body: AsyncIterator[bytes]) -> None:
        """Send what ``body`` yields while it reads the request's own body."""
        assert self.scope is not None
        with self.scope:
            await self._send_all(body)
        if not request_body.complete:
            self._whole = False

    async def run(self, body: AsyncIterator[bytes]) -> None:
        """Send what ``body`` yields, until it ends, the client leaves, or `end` is called."""
        async with trio.open_nursery() as nursery:
            self.scope = nursery.cancel_scope
            nursery.start_soon(self._watch)
            await self._send_all(body)
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        """End the stream: the server shuts down, or there is no more."""
        if self.scope is None:
            # The client may have reset the connection; whoever calls this has others to end.
            with self._cut_off_on_error():
                self.finish()
            self.transport.close()
        else:
            self.scope.cancel()

    def over(self) -> None:
        """The connection of one that lives on was closed."""

    def finish(self) -> None:
        """Say that the body is complete. One that was cut off must look cut off."""
        if self._chunked and self._whole:
            self.transport.send_now(LAST_CHUNK)

    async def _send_all(self, body: AsyncIterator[bytes]) -> None:
        with self._cut_off_on_error():
            async for blob in body:
                if blob:
                    await self.send(blob)

    async def _watch(self) -> None:
        """Until the client leaves. What it sends meanwhile is dropped."""
        with self._cut_off_on_error():
            while await self.transport.receive():
                pass
        self._whole = False
        self.end()

    @contextmanager
    def _cut_off_on_error(self) -> Iterator[None]:
        """Where every failure of a stream ends, whoever sends it: the head of the answer is out,
        so nothing can be said any more, and neither the connection nor the server has a part in
        it. The client sees its body cut off."""
        try:
            yield
        except (OSError, trio.ClosedResourceError):
            log.debug("a client left its stream", exc_info=True)
            self._whole = False
        except KissError as error:
            log.debug("a stream was cut off: %s", error)
            self._whole = False
        except Exception:
            log.exception("a stream failed; its client sees it cut off")
            self._whole = False


class PushSink(StreamSender):
    """A lane connection as a pusher's sink (`kissvdb.engine.stream.push.Sink`).

    It holds at most the rest of one blob, which it shares with all others: its backlog is its
    cursor. ``spawn`` is where a slow client's drain task runs. Once it is live it lives on without
    a task, which would be most of what an idle client costs.
    """

    __slots__ = ("_pusher", "_spawn", "_subscription")

    def __init__(
        self,
        transport: Transport,
        subscription: Subscription,
        pusher: Pusher,
        spawn: trio.Nursery,
        *,
        chunked: bool,
        cache: ChunkCache,
    ) -> None:
        super().__init__(transport, chunked=chunked, cache=cache)
        self._subscription = subscription
        self._pusher = pusher
        self._spawn = spawn

    async def run(self, body: AsyncIterator[bytes]) -> None:
        """The connection's own task: catch up once. Where no poller tells of the client leaving, it
        then watches for that."""
        assert body is self._subscription
        scope = self.scope
        assert scope is not None
        try:
            with scope, self._cut_off_on_error():
                if await self._go_live():
                    if self.transport.has_poller and not scope.cancel_called:
                        self.lives_on, self.scope = True, None
                        return
                    await self._watch()
        finally:
            if not self.lives_on:
                self._pusher.leave(self._subscription)

    def over(self) -> None:
        self._pusher.leave(self._subscription)
        self._subscription.close()

    def push(self, blob: bytes) -> bool:
        """See `Sink`: one bare send, with no call beside it that a thousand sinks would make."""
        cache = self._cache
        frame = cache.made if self._chunked and cache.blob is blob else self.frame(blob)
        try:
            sent = self.transport.sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Closing wakes the connection's task, which watches, and that ends it.
            self.transport.close()
            return False
        if sent == len(frame):
            return True
        self._whole = False
        self._spawn.start_soon(self._drain, memoryview(frame)[sent:])
        return False

    def fall_behind(self) -> None:
        """See `Sink`."""
        self._spawn.start_soon(self._drain, memoryview(b""))

    async def _go_live(self) -> bool:
        if not await self._subscription.catch_up(self.send):
            return False
        self._pusher.join(self._subscription, self)
        return True

    async def _drain(self, left: memoryview) -> None:
        with self._cut_off_on_error():
            await self.transport.send_rest(left)
            self._whole = True
            if not await self._go_live():
                self.end()
        if not self._whole:
            # Wakes the connection's task, which watches, and that ends it.
            self.transport.close()


async def send_stream(
    sender: StreamSender,
    response: StreamResponse,
    clock: Clock,
    head: Head,
    request_body: BodyStream | None,
) -> None:
    """Send a whole streamed answer to ``head``, or begin one that lives on; else the connection is
    of no use afterwards.

    ``request_body``: what the answer is made from while it is being sent, if it is.
    """
    transport = sender.transport
    transport.enter(Phase.STREAMING)
    try:
        await transport.send(encode_stream_head(response, clock, chunked=head.http11))
        if head.method == "HEAD":
            return
        if request_body is None:
            await sender.run(response.body)
        else:
            await sender.run_beside(request_body, response.body)
        if not sender.lives_on:
            sender.finish()
    finally:
        close = None if sender.lives_on else getattr(response.body, "aclose", None)
        if close is not None:
            # Also when cancelled: the body holds a place in the table of streams.
            with trio.CancelScope(shield=True):
                await close()
