"""One connection of the lane: requests in, answers out, in order."""

import logging
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Protocol

import trio

from kissvdb.api.bound import Begun
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.errors import KissError, Overloaded, Stopping
from kissvdb.lane.body_stream import BodyStream
from kissvdb.lane.head import Head
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.reader import Repeat, RequestReader, SameHead
from kissvdb.lane.response import Clock, encode_response
from kissvdb.lane.streams import StreamSender, send_stream
from kissvdb.lane.transport import Phase, Transport

if TYPE_CHECKING:
    from kissvdb.api.bound import Bound
    from kissvdb.api.dispatch import Api

log = logging.getLogger(__name__)

_SAFE_METHODS = ("GET", "HEAD")
_REPEATS_MAX = 4
_STOPPING = "the server is shutting down: retry when it is back"


class Owner(Protocol):
    """What a connection needs of its server."""

    api: "Api"
    limits: LaneLimits
    clock: Clock
    stopping: bool

    async def hand_over(self, transport: Transport, received: bytes) -> None:
        """Serve the rest of the connection through the other door."""

    def sender(
        self, transport: Transport, response: StreamResponse, *, chunked: bool
    ) -> StreamSender:
        """What sends this streamed answer."""

    def forget(self, connection: "Connection") -> None:
        """A connection without a task has ended."""


class Connection:
    """The task of one client. It sleeps only in the transport and in the answer's making.

    A stream lives on without the task: what is left of its connection then is what ends it.
    """

    __slots__ = (
        "_abandoned",
        "_asked",
        "_begun",
        "_body",
        "_head",
        "_owner",
        "_peer",
        "_reader",
        "_repeats",
        "_scope",
        "_sender",
        "answered",
        "transport",
    )

    def __init__(self, owner: Owner, transport: Transport, peer: str = "") -> None:
        """``peer``: the address at the other end."""
        self.transport = transport
        self._peer = peer
        self.answered = 0
        self._owner = owner
        self._reader = RequestReader(transport, owner.limits, owner.api.too_large)
        self._scope = trio.CancelScope()
        self._head: Head | None = None
        # Set while its answer is waited for.
        self._asked: Request | None = None
        self._abandoned = False
        self._begun: Begun | None = None
        self._sender: StreamSender | None = None
        self._body: BodyStream | None = None
        self._repeats: list[Repeat | SameHead] = []

    async def run(self) -> bool:
        """Serve until either side is done. What goes wrong here stays here. True: a stream lives
        on; the owner is to forget the connection when that ends."""
        try:
            with self._scope:
                try:
                    await self._serve()
                except KissError as refusal:
                    await self._refuse(refusal)
                finally:
                    self._forget_begun()
            waited = self._asked is not None
            if self._scope.cancelled_caught and waited and not self._abandoned:
                await self._refuse(self._owner.api.timeout())
        except (OSError, trio.ClosedResourceError, trio.BrokenResourceError):
            log.debug("a client left", exc_info=True)
        except Exception:
            log.exception("a connection of the lane failed; it was closed")
        finally:
            sender = self._sender
            lives_on = sender is not None and sender.lives_on
            if not lives_on:
                self.transport.close()
        if lives_on:
            self._live_on()
        return lives_on

    def _live_on(self) -> None:
        transport = self.transport
        # What only the task needed: it is more than what is left.
        self._head = None
        self._reader.close()
        del self._reader, self._scope
        transport.on_close = self._over
        transport.ignore_input()

    def _over(self) -> None:
        assert self._sender is not None
        self._sender.over()
        self._owner.forget(self)

    async def turn_away(self, error: Overloaded) -> None:
        """Answer ``error`` whatever the client wants, and close."""
        try:
            await self._refuse(error)
        except (OSError, trio.ClosedResourceError):
            log.debug("a client left", exc_info=True)
        finally:
            self.transport.close()

    def expire(self) -> None:
        """The deadline passed. Wakes a reader with an end, breaks a stalled send, cancels an
        answer that takes too long."""
        transport = self.transport
        if transport.stalled:
            transport.close()
        elif transport.phase is Phase.ANSWERING:
            transport.deadline = inf
            self._scope.cancel()
        else:
            transport.close_input()

    @property
    def reading(self) -> bool:
        """A read is under way: nothing is lost by abandoning it."""
        return self._asked is not None and self._asked.method in _SAFE_METHODS

    def abandon(self) -> None:
        """The client has left: end the read it waited for."""
        self._abandoned = True
        self._scope.cancel()

    def stop(self) -> None:
        """The server shuts down: end now if idle, else after the answer under way."""
        phase = self.transport.phase
        if phase in (Phase.IDLE, Phase.READING_HEAD, Phase.LINGERING):
            self.transport.close_input(Stopping(_STOPPING))
        elif phase is Phase.STREAMING and self._body is not None:
            # What has arrived of the body is still done and answered.
            self.transport.close_input()
        elif phase is Phase.STREAMING and self._sender is not None:
            self._sender.end()

    async def _serve(self) -> None:
        owner, transport, reader = self._owner, self.transport, self._reader
        limits, clock = owner.limits, owner.clock
        turn = 0
        while True:
            if not reader.has_more and not await self._await_request():
                return
            head = await reader.read_head()
            found = None if head.foreign else self._find_hot(head)
            if found is None:
                transport.enter(Phase.HANDED_OVER)
                await owner.hand_over(transport, reader.received)
                return
            self._head = head
            bound, params = found
            route = bound.route
            body, stream = b"", None
            if head.content_length or head.chunked:
                if route.streamed and not (reader.has_whole_body(head) and _is_plain(head)):
                    stream = self._body = reader.stream_body(head)
                else:
                    body = await reader.read_body(head)
            request = _request(head, body, params, stream, self._peer)
            transport.enter(Phase.ANSWERING, limits.answer_timeout_secs if route.bounded else inf)
            self._asked = request
            response = await owner.api.dispatch(request, bound=bound, timed=False)
            self._asked = None
            if isinstance(response, StreamResponse):
                await self._stream(head, response)
                return
            unread = stream is not None and not stream.complete
            close = not head.keep_alive or owner.stopping or transport.closing or unread
            head_only = head.method == "HEAD"
            await transport.send(encode_response(response, clock, close=close, head_only=head_only))
            self._head = None
            self.answered += 1
            # A shutdown that began while the answer waited for its reader has passed by here.
            if close or owner.stopping:
                break
            if reader.has_more:
                turn += 1
                if turn % limits.pipelined_turn_max == 0:
                    # Other connections must get their turn while this one never has to wait.
                    await trio.lowlevel.checkpoint()
        if reader.has_more or unread or transport.has_more:
            await self._linger()

    async def _stream(self, head: Head, response: StreamResponse) -> None:
        owner = self._owner
        sender = self._sender = owner.sender(self.transport, response, chunked=head.http11)
        if owner.stopping:
            sender.end()
        await self._reader.say_continue()
        await send_stream(sender, response, owner.clock, head, self._body)
        if self._body is not None and not self._body.complete:
            await self._linger()

    async def _await_request(self) -> bool:
        """Wait for the start of a request the reader has to see; False when there is none.
        Until then the poller may have answered any number of others."""
        owner, transport = self._owner, self.transport
        while True:
            transport.enter(Phase.IDLE, owner.limits.idle_timeout_secs)
            data = await transport.receive_or_answer(self._answer_at_once)
            if data is not None:
                self._reader.begin(data)
                return bool(data)
            transport.enter(Phase.ANSWERING)
            await transport.send_unsent()
            if owner.stopping or transport.closing:
                if transport.has_more:
                    await self._linger()
                return False

    def _answer_at_once(self, data: bytes) -> bool:
        """Answer ``data``, or begin to, without waking this connection's task, if it is one
        whole request that needs none. False: nothing was done, serve it the usual way."""
        owner, transport = self._owner, self.transport
        if owner.stopping or transport.closing:
            return False
        for repeat in self._repeats:
            request = repeat.read(data, self._peer)
            if request is not None:
                bound = repeat.bound
                break
        else:
            found = self._read_at_once(data)
            if found is None:
                return False
            request, bound = found
        outcome = owner.api.begin(request, bound)
        if outcome is None:
            return False
        if type(outcome) is Begun:
            self._begun, self._asked = outcome, request
            transport.hold()
            transport.enter(Phase.ANSWERING, owner.limits.answer_timeout_secs)
            outcome.pending.reply.call(self._answer_begun)
            return True
        assert isinstance(outcome, Response)
        transport.extend(owner.limits.idle_timeout_secs)
        transport.answer_now(encode_response(outcome, owner.clock, close=False, head_only=False))
        self.answered += 1
        return True

    def _read_at_once(self, data: bytes) -> "tuple[Request, Bound] | None":
        """The request that is all of ``data``, if it may be answered without this connection's
        task."""
        reader = self._reader
        whole = reader.whole_request(data)
        if whole is None:
            return None
        head, body = whole
        found = self._find_hot(head)
        if found is None or not found[0].prompt:
            return None
        bound, params = found
        raw = data[: len(data) - len(body)]
        repeat = reader.repeat(raw, head, found, self._owner.api)
        if repeat is not None:
            self._repeats = [repeat, *self._repeats[: _REPEATS_MAX - 1]]
        return _request(head, body, params, None, self._peer), bound

    def _answer_begun(self) -> None:
        """The reply to what was begun is there. The task of this connection still sleeps."""
        owner, transport, begun = self._owner, self.transport, self._begun
        assert begun is not None
        self._begun = self._asked = None
        response = owner.api.finish(begun)
        close = owner.stopping or transport.closing
        transport.enter(Phase.IDLE, owner.limits.idle_timeout_secs)
        self.answered += 1
        transport.answer_held(
            encode_response(response, owner.clock, close=close, head_only=False), last=close
        )

    def _forget_begun(self) -> None:
        """Nobody waits for the answer any more; what was begun happens all the same."""
        if self._begun is not None:
            self._begun.pending.reply.abandon()
            self._begun = None

    def _find_hot(self, head: Head) -> "tuple[Bound, Mapping[str, str]] | None":
        try:
            found = self._owner.api.find(head.method, head.path)
        except KissError:
            return None
        return found if found[0].route.hot else None

    async def _refuse(self, error: KissError) -> None:
        request, head = self._asked, self._head
        if request is None and head is not None:
            request = _request(head, b"", {}, None, self._peer)
        answer = self._owner.api.refusal(error, request)
        head_only = request is not None and request.method == "HEAD"
        self.transport.enter(Phase.ANSWERING)
        await self.transport.send(
            encode_response(answer, self._owner.clock, close=True, head_only=head_only)
        )
        await self._linger()

    async def _linger(self) -> None:
        """Read on for a moment: closing a socket with unread input resets the connection, and
        the reset can overtake the answer (RFC 9112, section 9.6)."""
        transport, limits = self.transport, self._owner.limits
        transport.close_output()
        if transport.closing:
            return
        transport.enter(Phase.LINGERING, limits.linger_secs)
        dropped = 0
        while dropped < limits.linger_bytes_max:
            data = await transport.receive()
            if not data:
                return
            dropped += len(data)


def _is_plain(head: Head) -> bool:
    """The body is not compressed: what it becomes is as long as it is."""
    return "content-encoding" not in head.headers


def _request(
    head: Head, body: bytes, params: Mapping[str, str], stream: BodyStream | None, peer: str
) -> Request:
    return Request(head.method, head.path, head.query, head.headers, body, params, stream, peer)
