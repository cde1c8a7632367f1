"""What must hold for a batch: from its JSON to what the engine checks."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kissvdb.api.access.commands import check_command
from kissvdb.api.batch.bodies import CountBody, PreconditionBody
from kissvdb.api.documents.names import key_of
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.vectors.forms import check_namespace, filter_of
from kissvdb.config import Limits
from kissvdb.core.filters.tree import Node
from kissvdb.core.rows import rules as collection
from kissvdb.core.state.rules import Precondition, Require
from kissvdb.engine.batches import Count
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.engine.vectors.model import check_name
from kissvdb.errors import InvalidArgument, KissError, NotFound

if TYPE_CHECKING:
    from kissvdb.engine.database import Database


def conditions(context: Context, request: Request, found: Sequence[PreconditionBody]) -> list[Any]:
    """What to check, in order. Raises InvalidArgument, MistypedField, Forbidden and NotFound."""
    checked = []
    for place, body in enumerate(found):
        where = f"preconditions[{place}]"
        try:
            condition = _condition(context, request, body, where)
            checked.append(check_command(request.principal.grants, condition))
        except KissError as refusal:
            refusal.precondition = place
            if not refusal.message.startswith(where):
                refusal.reword(f"{where}: {refusal.message}")
            raise
    return checked


def _condition(context: Context, request: Request, body: PreconditionBody, where: str) -> Any:
    about = [name for name in ("key", "documents", "vectors") if getattr(body, name) is not None]
    if len(about) != 1:
        raise InvalidArgument(f"{where}: give one of key, documents or vectors, not {len(about)}")
    if body.if_filter_count is not None:
        return _count(context, request, body, body.if_filter_count, where)
    bounds = context.config.limits
    if body.vectors is not None:
        return _of_vector(body, body.vectors, bounds, where)
    if body.documents is not None:
        check_name(body.documents, bounds)
        key = key_of(body.documents, _id(body, bounds, where), bounds, f"{where}.id")
    else:
        assert body.key is not None
        key = body.key
        if body.id is not None:
            raise InvalidArgument(f"{where}.id: belongs to documents or vectors; a key has none")
    limits.check_key(key, bounds, f"{where}.key")
    limits.check_u64(body.if_revision, f"{where}.if_revision")
    limits.check_u64(body.if_offset, f"{where}.if_offset")
    if (body.if_revision, body.if_offset, body.if_absent) == (None, None, None):
        raise InvalidArgument(
            f"{where}: says nothing; give if_revision, if_offset, if_absent or if_filter_count"
        )
    return Require(key, Precondition(body.if_revision, body.if_offset, body.if_absent))


def _of_vector(body: PreconditionBody, name: str, bounds: Limits, where: str) -> VectorCommand:
    if body.if_revision is not None or body.if_offset is not None:
        raise InvalidArgument(f"{where}: of a vector only if_absent can be asked")
    if body.if_absent is None:
        raise InvalidArgument(f"{where}: says nothing; give if_absent or if_filter_count")
    return VectorCommand(name, collection.Require(_id(body, bounds, where), body.if_absent))


async def _count_documents(database: "Database", collection: str, tree: Node | None) -> int:
    try:
        return await database.documents.look(collection, lambda view: view.count(tree))
    except NotFound:
        # A collection comes to be with its first document.
        return 0


def _id(body: PreconditionBody, bounds: Limits, where: str) -> str:
    if body.id is None:
        raise InvalidArgument(f"{where}.id: missing; which document or vector?")
    limits.check_id(body.id, bounds, f"{where}.id")
    return body.id


def _count(
    context: Context, request: Request, body: PreconditionBody, wanted: CountBody, where: str
) -> Count:
    if body.key is not None:
        raise InvalidArgument(f"{where}.if_filter_count: counts documents or vectors, not keys")
    if (body.id, body.if_revision, body.if_offset, body.if_absent) != (None, None, None, None):
        raise InvalidArgument(f"{where}: give if_filter_count a precondition of its own")
    given = [wanted.equals, wanted.at_least, wanted.at_most]
    if given == [None, None, None]:
        raise InvalidArgument(f"{where}.if_filter_count: give equals, at_least or at_most")
    if wanted.equals is not None and given[1:] != [None, None]:
        raise InvalidArgument(f"{where}.if_filter_count: give equals, or at_least and at_most")
    least = wanted.equals if wanted.at_least is None else wanted.at_least
    most = wanted.equals if wanted.at_most is None else wanted.at_most
    tree = filter_of(context, request, wanted.filters)
    check_namespace(wanted.namespace, f"{where}.if_filter_count.namespace")
    database = context.database
    if body.documents is not None:
        if wanted.namespace is not None:
            raise InvalidArgument(f"{where}.if_filter_count.namespace: documents have none")
        check_name(body.documents, context.config.limits)
        count = partial(_count_documents, database, body.documents, tree)
        return Count(
            lambda: database.key_owners,
            count,
            least or 0,
            most,
            collection=body.documents,
            of_documents=True,
        )
    assert body.vectors is not None
    name = body.vectors
    count = partial(
        database.vectors.look,
        name,
        lambda view: view.count(tree, wanted.namespace),
    )
    return Count(lambda: [database.vectors.owner(name)], count, least or 0, most, collection=name)
