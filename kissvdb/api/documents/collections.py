"""Collections of documents over HTTP: list, look at, configure, vacuum, drop."""

from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from kissvdb.api.documents.bodies import (
    DocumentCollections,
    DocumentsConfigured,
    DocumentsDetail,
    DocumentSettingsBody,
    DocumentsInfo,
    DocumentsVacuumed,
)
from kissvdb.api.documents.names import collection_of
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import Body, off_loop
from kissvdb.engine.documents.settings import DocumentSettings

if TYPE_CHECKING:
    from kissvdb.engine.documents.model import DocumentsInfo as Known

CONFIGURE = Body(DocumentSettingsBody)

_json = msgspec.json.encode


async def list_collections(context: Context, request: Request) -> Response:
    grants = request.principal.grants
    may_see = None if grants is None else grants.may_documents
    known = await context.database.documents.collections(may_see)
    return Response(_json(DocumentCollections([DocumentsInfo(**_members(each)) for each in known])))


async def detail(context: Context, request: Request) -> Response:
    name = collection_of(context, request)
    documents = context.database.documents
    known = await documents.info(name)
    fields = await documents.look(name, lambda view: view.metadata.fields())
    return Response(
        _json(
            DocumentsDetail(
                **_members(known),
                fields=fields,
                settings=known.settings.to_json(),
                working=known.working,
                damage=known.damage,
            )
        )
    )


async def configure(context: Context, request: Request) -> Response:
    name = collection_of(context, request)
    settings = await off_loop(request.body, _settings, context, request)
    written = await context.database.documents.configure(name, settings)
    return Response(_json(DocumentsConfigured(name, settings.to_json(), written.offset)))


async def vacuum(context: Context, request: Request) -> Response:
    removed = await context.database.documents.vacuum(collection_of(context, request))
    return Response(_json(DocumentsVacuumed(ok=True, removed=removed)))


async def drop(context: Context, request: Request) -> Response:
    count, offset = await context.database.documents.drop(collection_of(context, request))
    return Response(b'{"deleted":true,"documents":%d,"offset":%b}' % (count, _json(offset)))


def _settings(context: Context, request: Request) -> DocumentSettings:
    body = CONFIGURE.read(request.body, strict=context.strict)
    return DocumentSettings.from_json({"text": body.text}, "body")


def _members(known: "Known") -> dict[str, Any]:
    return attrs.asdict(
        DocumentsInfo(
            known.name,
            known.count,
            known.bytes,
            known.offset,
            known.created_at_ms,
            known.updated_at_ms,
        )
    )
