"""The log as a stream: append events, follow them."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from kissvdb.client.aio import net
from kissvdb.client.aio.http import Connection, Http, Lost
from kissvdb.client.errors import of_body
from kissvdb.client.results import Event, Gap, Written, decode
from kissvdb.client.retrying import Retries
from kissvdb.client.sse import Ended, EventParser
from kissvdb.client.wire import Call, given, to_json
from kissvdb.errors import KissError

SILENCE_MAX_SECS = 45.0
"""The server says something every 15 seconds; after so long without, the connection is no more."""


class Events:
    """``client.events``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def publish(
        self,
        type: str,
        data: Any,
        *,
        key: str | None = None,
        tags: Sequence[str] = (),
        transient: bool = False,
        op_id: str | None = None,
    ) -> int | None:
        """Append an event; its offset. ``transient``: only to who listens now, and None."""
        op_id = None if transient else self._http.op_id(op_id)
        body = {"type": type, "data": data}
        body.update(given(key=key, tags=list(tags) or None, op_id=op_id))
        if transient:
            body["transient"] = True
        text = to_json(body)
        answer = await self._http.answer(Call("POST", "/v1/events", text, safe=op_id is not None))
        if transient:
            return None
        written: Written = decode(Written, answer.body)
        self._http.note_offset(written.offset)
        return written.offset


class Stream:
    """``client.stream``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def events(
        self,
        *,
        since: int | str | None = None,
        types: Sequence[str] = (),
        key: str | None = None,
        key_prefix: str | None = None,
        collection: str | None = None,
        table: str | None = None,
        job_id: str | None = None,
        tag: str | None = None,
        vectors: bool | None = None,
        epoch: str | None = None,
    ) -> "Subscription":
        """Follow the log from after ``since`` on: an offset, "now", or None for all that is kept.

        Without loss or duplicate: a connection that breaks is made anew from the last place, and
        what the log no longer holds is a `Gap`. ``epoch``: of ``since``, if it is from an earlier
        life of the program.
        """
        query = given(
            since=since,
            types=list(types) or None,
            key=key,
            key_prefix=key_prefix,
            collection=collection,
            table=table,
            job_id=job_id,
            tag=tag,
            vectors=vectors,
            epoch=epoch,
        )
        return Subscription(self._http, query)

    subscribe = events


class Subscription:
    """An iterator of `Event` and `Gap`, without end. Close it, or use it as a context manager."""

    def __init__(self, http: Http, query: dict[str, Any]) -> None:
        self._http = http
        self._query = query
        self._connection: Connection | None = None
        self._parser = EventParser()
        self._waiting: list[Event | Gap | Ended] = []
        self._retries = Retries(http.config.retries)
        self._is_over = False
        self.epoch = ""
        """The history that the offsets are places in."""

    @property
    def last_offset(self) -> int | None:
        """The place to go on from, in another program: ``since`` of its `events`."""
        place = self._parser.last_id
        return None if place is None else int(place)

    async def __aenter__(self) -> "Subscription":
        """Connected: what is written from now on comes."""
        if self._connection is None:
            await self._connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event | Gap:
        """The next one. Raises what the server ended the stream with, and Unreachable when it
        could not be reached again."""
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            try:
                await self._receive()
            except Lost as lost:
                await self._drop()
                await self._pause(lost)
        event = self._waiting.pop(0)
        if isinstance(event, Ended):
            await self.aclose()
            raise of_body(0, event.code, event.message)
        if isinstance(event, Event):
            self._http.note_offset(event.offset)
        return event

    async def aclose(self) -> None:
        """End it."""
        self._is_over = True
        self._waiting.clear()
        await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.stream.aclose()

    async def _receive(self) -> None:
        connection = self._connection
        if connection is None:
            connection = await self._connect()
        elif connection.parser.is_complete:
            raise Lost("the server ended the stream", sent=True)
        else:
            await connection.receive(SILENCE_MAX_SECS)
        data = connection.parser.take().body
        if data:
            self._waiting += self._parser.feed(data)
            self._retries = Retries(self._http.config.retries)

    async def _connect(self) -> Connection:
        headers: tuple[tuple[str, str], ...] = ()
        query, place = self._query, self._parser.last_id
        # The rest of an event that broke off comes again, whole.
        self._parser = EventParser()
        self._parser.last_id = place
        if place is not None:
            query = {name: query[name] for name in query if name not in ("since", "epoch")}
            headers = (("last-event-id", place), ("kissvdb-epoch", self.epoch))
        call = Call("GET", "/v1/stream", query=query, headers=headers)
        while True:
            try:
                connection, answer = await self._http.open(call, self._http.config.timeout_secs)
                break
            except KissError as error:
                await self._pause(error)
        self._connection = connection
        self.epoch = answer.headers.get("kissvdb-epoch", self.epoch)
        # What came behind the head.
        self._waiting += self._parser.feed(answer.body)
        return connection

    async def _pause(self, error: Lost | KissError) -> None:
        """Wait before the next try. Raises the error after too many."""
        known = self._http.unreachable(error) if isinstance(error, Lost) else error
        if not self._retries.may(known, safe=True):
            await self.aclose()
            raise known
        await net.sleep(self._retries.pause(None))
