"""What whoever runs the server asks it: is it alive, is it ready, how is it, keep a copy."""

from kissvdb.api.context import Context
from kissvdb.api.http import Request, Response, StreamResponse
from kissvdb.api.starting import Recovering, still_starting
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
    return StreamResponse(
        context.database.backup(), content_type="application/x-tar", headers=_BACKUP_HEADERS
    )
