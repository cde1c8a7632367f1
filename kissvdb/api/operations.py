"""What whoever runs the server asks it: is it alive, is it ready, how is it, keep a copy."""

from collections.abc import AsyncGenerator
from typing import Any

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.api.frame.starting import Recovering, still_starting
from kissvdb.errors import Stopping
from kissvdb.metrics import CONTENT_TYPE as METRICS

TEXT = "text/plain; charset=utf-8"

_BACKUP_HEADERS = (
    ("content-disposition", 'attachment; filename="kissvdb-backup.tar"'),
    ("cache-control", "no-store"),
)


def health(context: Context, request: Request) -> Response:
    return Response(b"ok", content_type=TEXT)


def ready(context: Context, request: Request) -> Response:
    database = context.database
    if isinstance(database, Recovering):
        raise still_starting()
    if not database.ready:
        raise Stopping("not ready: the server is shutting down, ask again when it is back")
    answer = b'{"ready":true,"offset":%d,"epoch":"%b"}'
    return Response(answer % (database.last_offset, database.epoch.encode()))


def metrics(context: Context, request: Request) -> Response:
    return Response(context.metrics.render(), content_type=METRICS)


async def snapshot(context: Context, request: Request) -> Response:
    return Response(b'{"offset":%d}' % await context.database.snapshot())


async def backup(context: Context, request: Request) -> Response | StreamResponse:
    if request.method == "HEAD":
        return Response(content_type="application/x-tar", headers=_BACKUP_HEADERS)
    blocks = _Begun(context.database.backup())
    # A backup that cannot be made is refused before its first block, with a status.
    await blocks.begin()
    return StreamResponse(blocks, content_type="application/x-tar", headers=_BACKUP_HEADERS)


class _Begun(AsyncGenerator[bytes, None]):
    """A stream of which the first block is there before anybody iterates; closed with it."""

    def __init__(self, blocks: AsyncGenerator[bytes, None]) -> None:
        self._blocks = blocks
        self._first: bytes | None = None

    async def begin(self) -> None:
        self._first = await anext(self._blocks)

    async def asend(self, value: None) -> bytes:
        first, self._first = self._first, None
        return await anext(self._blocks) if first is None else first

    async def athrow(self, *problem: Any) -> bytes:
        return await self._blocks.athrow(*problem)

    async def aclose(self) -> None:
        await self._blocks.aclose()
