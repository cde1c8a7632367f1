"""A bridge for clients of MCP that start a command: lines of JSON-RPC on standard input and output,
and POST /mcp of a running server behind them.

Nothing is kept here but the revision that was agreed on: every line is a request of its own, on a
connection of its own, so the server may come and go in between.
"""

import base64
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import trio

from kissvdb.client import wire
from kissvdb.client.aio import net
from kissvdb.client.aio.http import Connection, Lost
from kissvdb.client.config import Config
from kissvdb.errors import Refused

LINE_BYTES_MAX = 16 * 1024 * 1024
AT_ONCE_MAX = 64
"""Requests under way; what comes beyond waits in the pipe."""
CONNECT_SECS_MAX = 3.0
"""A server that is being started again may take so long."""
RETRY_SECS = 0.2
ANSWER_SECS_MAX = 120.0
"""The server itself gives up earlier, and says so."""
QUIET_SECS_MAX = 60.0
"""Of a stream, in which a server says something every few seconds."""

FAILED = -32000
"""The code of what the bridge itself has to say."""
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_PLAIN = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")

_json = msgspec.json.encode


class _Meta(msgspec.Struct):
    version: Any = msgspec.field(default=None, name=_VERSION_KEY)


class _Params(msgspec.Struct, rename="camel"):
    meta: _Meta | None = msgspec.field(default=None, name="_meta")
    name: Any = None
    uri: Any = None
    request_id: Any = None


class _Line(msgspec.Struct):
    """As much of a message as the headers want. What is none of these the server refuses."""

    method: str = ""
    id: str | int | None = None
    params: _Params | None = None

    @property
    def is_answered(self) -> bool:
        """A notification is not; what is no message is answered without an id."""
        return self.id is not None or not self.method


class _Agreed(msgspec.Struct, rename="camel"):
    protocol_version: str


class _Begun(msgspec.Struct):
    result: _Agreed


class _Refusal(msgspec.Struct):
    error: str
    message: str


def run(url: str | None, key: str | None) -> int:
    """Serve standard input until it ends. Raises Refused for an address that is none."""
    config = Config.from_env()
    config = Config(url or config.url, config.key if key is None else key)
    try:
        bridge = Bridge(config)
    except ValueError as error:
        raise Refused(str(error)) from error
    if sys.stdin is None or sys.stdout is None:
        raise Refused("standard input or output is closed: an MCP client speaks through them")
    trio.run(bridge.run, _lines(_read), _write)
    return 0


class Bridge:
    """Between the lines of one client and one server."""

    def __init__(self, config: Config) -> None:
        """Raises ValueError."""
        self._url = config.url
        self._origin = config.origin()
        self._headers = wire.common_headers(self._origin.host, config.key)
        self._agreed: str | None = None
        self._under_way: dict[str | int, trio.CancelScope] = {}
        self._streams: set[str | int] = set()
        self._at_once = trio.Semaphore(AT_ONCE_MAX)
        send, receive = trio.open_memory_channel[bytes](0)
        self._out, self._told = send, receive

    async def run(self, lines: AsyncIterator[bytes | None], write: Callable[[bytes], None]) -> None:
        """Until ``lines`` end: what was asked by then is still answered, streams are not waited
        for. None stands for a line that is too long. ``write`` may block."""
        async with trio.open_nursery() as outer:
            outer.start_soon(self._tell, write, outer.cancel_scope)
            async with self._out, trio.open_nursery() as nursery:
                async for line in lines:
                    if line is None:
                        await self._fail(None, f"a line of more than {LINE_BYTES_MAX} bytes")
                    elif line.strip():
                        await self._take(line, nursery)
                for id_ in self._streams & self._under_way.keys():
                    self._under_way[id_].cancel()

    async def _take(self, line: bytes, nursery: trio.Nursery) -> None:
        message = _message(line)
        if message.method == "notifications/cancelled":
            params = message.params
            scope = self._under_way.get(params.request_id) if params is not None else None
            if scope is not None:
                scope.cancel()
            return
        await self._at_once.acquire()
        scope = trio.CancelScope()
        if message.id is not None:
            self._under_way[message.id] = scope
            if message.method == "subscriptions/listen":
                self._streams.add(message.id)
        nursery.start_soon(self._serve, line, message, scope)

    async def _serve(self, line: bytes, message: _Line, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._exchange(line, message)
        finally:
            self._at_once.release()
            if message.id is not None and self._under_way.get(message.id) is scope:
                del self._under_way[message.id]
                self._streams.discard(message.id)

    async def _exchange(self, line: bytes, message: _Line) -> None:
        """Send a message and tell the client what comes back."""
        try:
            connection = await self._connected()
        except (OSError, TimeoutError) as error:
            if message.is_answered:
                await self._fail(message.id, self._unreachable(error))
            return
        try:
            await self._ask(connection, line, message)
        except Lost as lost:
            if message.is_answered:
                await self._fail(
                    message.id,
                    f"the connection to {self._url} broke ({lost}): what was asked may have been "
                    "done or not; look, before you ask for it again",
                )
        finally:
            with trio.CancelScope(shield=True):
                await connection.stream.aclose()

    async def _connected(self) -> Connection:
        until = trio.current_time() + CONNECT_SECS_MAX
        while True:
            try:
                return Connection(await net.connect(self._origin, CONNECT_SECS_MAX))
            except OSError:
                if trio.current_time() + RETRY_SECS >= until:
                    raise
            await trio.sleep(RETRY_SECS)

    async def _ask(self, connection: Connection, line: bytes, message: _Line) -> None:
        """Raises Lost."""
        call = wire.Call("POST", "/mcp", line, headers=self._headers_of(message))
        request = wire.encode(call, self._origin.path, self._headers, 0)
        deadline = net.monotonic() + ANSWER_SECS_MAX
        await connection.send(request, deadline)
        parser = connection.parser
        while not parser.has_head:
            await connection.receive(deadline - net.monotonic())
        head = parser.take()
        if head.headers.get("content-type", "").startswith("text/event-stream"):
            await self._follow(connection, head.body)
            return
        body = head.body
        while not parser.is_complete:
            await connection.receive(deadline - net.monotonic())
            body += parser.take().body
        await self._answer(message, head.status, body.strip())

    async def _answer(self, message: _Line, status: int, body: bytes) -> None:
        if not body or not message.is_answered:
            return
        refused = status >= 400 and _read_as(body, _Refusal)
        if refused:
            await self._fail(message.id, f"{refused.error}: {refused.message}")
            return
        if status >= 400 and not body.startswith(b'{"jsonrpc"'):
            text = body[:200].decode("utf-8", "replace")
            await self._fail(message.id, f"{self._url} answered {status}: {text}")
            return
        if message.method == "initialize" and (begun := _read_as(body, _Begun)):
            self._agreed = begun.result.protocol_version
        await self._out.send(body)

    async def _follow(self, connection: Connection, rest: bytes) -> None:
        """Each message of a stream as it comes. Raises Lost unless the last one was there."""
        parser = connection.parser
        while True:
            *frames, rest = rest.split(b"\n\n")
            for frame in frames:
                _, mark, data = frame.partition(b"data: ")
                if mark:
                    await self._out.send(data)
            if parser.is_complete:
                return
            await connection.receive(QUIET_SECS_MAX)
            rest += parser.take().body

    def _headers_of(self, message: _Line) -> tuple[tuple[str, str], ...]:
        params = message.params or _Params()
        version = params.meta.version if params.meta is not None else None
        headers = [("accept", "application/json, text/event-stream"), ("connection", "close")]
        if isinstance(version, str):
            headers.append(("mcp-method", _header(message.method)))
            name = params.uri if message.method == "resources/read" else params.name
            if isinstance(name, str):
                headers.append(("mcp-name", _header(name)))
        elif message.method != "initialize":
            version = self._agreed
        if version is not None and _PLAIN.fullmatch(str(version)):
            headers.append(("mcp-protocol-version", str(version)))
        return tuple(headers)

    def _unreachable(self, error: Exception) -> str:
        return (
            f"no server answers at {self._url} ({error}): start one with `kissvdb serve`, or say "
            "where it is with --url or KISSVDB_URL"
        )

    async def _fail(self, id_: str | int | None, reason: str) -> None:
        error = {"code": FAILED, "message": reason}
        await self._out.send(_json({"jsonrpc": "2.0", "id": id_, "error": error}))

    async def _tell(self, write: Callable[[bytes], None], everything: trio.CancelScope) -> None:
        """The one task that writes: a client that does not read holds up its own answers only."""
        async for line in self._told:
            try:
                await trio.to_thread.run_sync(write, line + b"\n", abandon_on_cancel=True)
            except OSError:
                # Nobody reads any more.
                everything.cancel()


def _message(line: bytes) -> _Line:
    return _read_as(line, _Line) or _Line()


def _read_as(text: bytes, type_: type[Any]) -> Any:
    """None for what is something else."""
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _header(text: str) -> str:
    """As MCP writes what no header can say."""
    if _PLAIN.fullmatch(text) and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


async def _lines(read: Callable[[], bytes]) -> AsyncIterator[bytes | None]:
    """Lines of what ``read`` answers, which may block, and is empty at the end."""
    rest, too_long = b"", False
    while True:
        data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield None if too_long else line
            too_long = False
        if len(rest) > LINE_BYTES_MAX:
            rest, too_long = b"", True
        if not data:
            if rest:
                yield rest
            return


def _read() -> bytes:
    # Not of sys.stdin: a thread that waits in there would keep the process from ending.
    return os.read(0, 65536)


def _write(line: bytes) -> None:
    while line:
        line = line[os.write(1, line) :]
