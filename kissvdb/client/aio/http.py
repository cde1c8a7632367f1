"""Calls over kept connections: repeated where that is safe, within one deadline."""

import os
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import httptools
import msgspec

from kissvdb.client import errors, wire
from kissvdb.client.aio import net
from kissvdb.client.config import Config
from kissvdb.client.retrying import Retries, retry_after
from kissvdb.client.wire import Answer, AnswerParser, Call
from kissvdb.errors import KissError

IDLE_MAX = 64
"""Connections that are kept for the next calls."""


class Lost(Exception):
    """A connection broke. ``sent``: the server may have got the call. ``stale``: it had been kept
    from an earlier call, and nothing of an answer had come."""

    def __init__(self, reason: str, *, sent: bool, stale: bool = False, late: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.stale = stale
        self.late = late


class Connection:
    """One connection, one call at a time."""

    def __init__(self, stream: net.Connected) -> None:
        self.stream = stream
        self.parser = AnswerParser()
        self.used = False

    async def send(self, data: bytes, deadline: float) -> None:
        """Raises Lost."""
        try:
            await self.stream.send(data, deadline - net.monotonic())
        except (OSError, TimeoutError) as error:
            raise self._lost(error) from error

    async def receive(self, timeout_secs: float) -> bytes:
        """Feed the parser with what arrives next. Raises Lost."""
        try:
            data = await self.stream.receive(timeout_secs)
            if not data:
                raise ConnectionResetError("closed by the other side")
            self.parser.feed(data)
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            raise self._lost(error) from error
        return data

    async def answer(self, data: bytes, deadline: float) -> Answer:
        """Send a request and wait for its whole answer. Raises Lost."""
        parser = self.parser
        refused = None
        try:
            await self.send(data, deadline)
        except Lost as lost:
            if lost.late:
                raise
            # It may have been refused before all of it was sent, as a body that is too large.
            refused = lost
        while not parser.is_complete:
            try:
                await self.receive(deadline - net.monotonic())
            except Lost:
                if refused is not None:
                    raise refused from None
                raise
        answer = parser.take()
        answer.keep_alive = answer.keep_alive and refused is None
        parser.expect()
        self.used = True
        return answer

    def _lost(self, error: Exception) -> Lost:
        late = isinstance(error, TimeoutError)
        stale = self.used and not self.parser.begun and not late
        return Lost(str(error) or type(error).__name__, sent=True, stale=stale, late=late)


class Http:
    """What all parts of a client call through. Any number of calls may be under way."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.origin = config.origin()
        self.offset = 0
        """The newest that this client was told, of this epoch."""
        self.epoch = ""
        self._common = wire.common_headers(self.origin.host, config.key)
        self._idle: list[Connection] = []
        self._closed = False
        self._op_id_prefix = os.urandom(8).hex()
        self._op_ids = count(1)

    def op_id(self, given: str | None) -> str | None:
        """The id of a write: the caller's, or a new one."""
        if given is not None or not self.config.op_ids:
            return given
        return f"{self._op_id_prefix}-{next(self._op_ids)}"

    def with_op_ids(self, items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Writes with an id each, as they were given or new ones; without, if there are to be
        none."""
        named = [dict(item) for item in items]
        for item in named:
            op_id = self.op_id(item.get("op_id"))
            if op_id is not None:
                item["op_id"] = op_id
        return named

    async def aclose(self) -> None:
        """Close what is kept. Calls that are under way end on their own."""
        self._closed = True
        while (connection := self._kept()) is not None:
            await connection.stream.aclose()

    async def call(self, call: Call, *, none_at: int | None = None) -> Answer | None:
        """The answer; None if its status is ``none_at``. Raises the error that it is."""
        retries = Retries(self.config.retries)
        deadline = net.monotonic() + self.config.timeout_secs
        while True:
            asked = None
            try:
                answer = await self._attempt(call, deadline)
            except Lost as lost:
                error: KissError = errors.lost(call.name, timed_out=lost.late)
                if call.safe or not lost.sent:
                    error = self.unreachable(lost)
            else:
                self._note(answer)
                if answer.status < 400:
                    return answer
                if answer.status == none_at:
                    return None
                error = errors.of_answer(answer.status, answer.body)
                asked = retry_after(answer.headers)
            if not retries.may(error, safe=call.safe):
                raise error
            pause = retries.pause(asked)
            if net.monotonic() + pause >= deadline:
                raise error
            await net.sleep(pause)

    async def answer(self, call: Call) -> Answer:
        """As `call`."""
        answer = await self.call(call)
        assert answer is not None
        return answer

    async def open(self, call: Call, timeout_secs: float) -> tuple[Connection, Answer]:
        """Send a request on a connection of its own and wait for the head of the answer: what
        follows is received by whoever asks, who also closes it. Raises the error that it is."""
        deadline = net.monotonic() + timeout_secs
        try:
            connection = await self._connect(deadline)
        except Lost as lost:
            raise self.unreachable(lost) from lost
        try:
            await connection.send(self._encode(call), deadline)
            parser = connection.parser
            while not (parser.has_head and (parser.is_complete or parser.status < 400)):
                await connection.receive(deadline - net.monotonic())
            answer = parser.take()
            self._note(answer)
            if answer.status >= 400:
                raise errors.of_answer(answer.status, answer.body)
        except Lost as lost:
            await connection.stream.aclose()
            raise self.unreachable(lost) from lost
        except BaseException:
            await connection.stream.aclose()
            raise
        return connection, answer

    def note_offset(self, offset: int | None) -> None:
        """Something of the database at this offset was seen."""
        if offset is not None and offset > self.offset:
            self.offset = offset

    def note_results(self, body: bytes) -> list[dict[str, Any]]:
        """The ``results`` of several writes."""
        results: list[dict[str, Any]] = msgspec.json.decode(body)["results"]
        for each in results:
            self.note_offset(each.get("offset"))
        return results

    def _encode(self, call: Call) -> bytes:
        offset = self.offset if self.config.read_your_writes else 0
        return wire.encode(call, self.origin.path, self._common, offset)

    async def _attempt(self, call: Call, deadline: float) -> Answer:
        while True:
            connection = self._kept() or await self._connect(deadline)
            if connection.used and not call.safe and connection.stream.is_readable():
                # The server has closed it. A call that may not be repeated is not lost in it.
                await connection.stream.aclose()
                continue
            try:
                answer = await connection.answer(self._encode(call), deadline)
            except Lost as lost:
                await connection.stream.aclose()
                if lost.stale and call.safe:
                    # Closed while it was idle, as after a restart: no failure of this call.
                    continue
                raise
            except BaseException:
                await connection.stream.aclose()
                raise
            if answer.keep_alive and len(self._idle) < IDLE_MAX and not self._closed:
                self._idle.append(connection)
            else:
                await connection.stream.aclose()
            return answer

    def _kept(self) -> Connection | None:
        # Threads may be many: asking first would be one thing, popping another.
        try:
            return self._idle.pop()
        except IndexError:
            return None

    async def _connect(self, deadline: float) -> Connection:
        try:
            return Connection(await net.connect(self.origin, deadline - net.monotonic()))
        except (OSError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            reason = str(error) or type(error).__name__
            raise Lost(reason, sent=False, late=late) from error

    def _note(self, answer: Answer) -> None:
        epoch = answer.headers.get("kissvdb-epoch", self.epoch)
        if epoch != self.epoch:
            # Offsets of another history say nothing about this one.
            self.epoch, self.offset = epoch, 0

    def unreachable(self, lost: Lost) -> KissError:
        """What to raise when there is no server."""
        return errors.Unreachable(
            f"no answer from {self.config.url}: {lost}; is it the right url, and does the server "
            "run?"
        )
