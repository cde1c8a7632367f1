"""What reads and writes of one key have in common, whatever the key is called outside."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.frame.preconditions import entity_tag, is_fresh, of_existing, precondition
from kissvdb.api.reading.query import parse_query, switch, u64
from kissvdb.core.state.rules import Answer, Deleted, Item, Precondition

_REPEATED = {False: b"", True: b',"repeated":true'}


def read(request: Request, item: Item, text: Callable[[Item], bytes]) -> Response:
    """The answer to a read: the item's text and entity tag, or 304 when the client has it."""
    etag = ("etag", entity_tag(item.revision))
    if "if-none-match" in request.headers and is_fresh(request.headers, item):
        return Response(status=304, headers=(etag,))
    return Response(text(item), headers=(etag,))


def at_offset(query: Mapping[str, str]) -> int | None:
    """The offset that a read asks about; None for now."""
    return u64(query, "at")


def find(
    context: Context, request: Request, key: str, answer: Callable[[Item | None], Response]
) -> Response | Awaitable[Response]:
    """The answer to a read of a key, as it is or as it was."""
    at = at_offset(parse_query(request.query)) if request.query else None
    if at is None:
        return answer(context.database.get(key))

    async def later(at: int) -> Response:
        return answer(await context.database.past.get(key, at))

    return later(at)


def creates(query: Mapping[str, str]) -> bool:
    """Whether a write may create its key, or bring it back."""
    return switch(query, "create", default=True)


def op_id(query: Mapping[str, str]) -> str | None:
    """The client's name for a write whose body has no room for one."""
    return limits.checked_op_id(query.get("op_id") or None, "query.op_id")


def condition(
    context: Context, request: Request, key: str, query: Mapping[str, str], *, creates: bool = True
) -> Precondition:
    """The precondition of a write whose body has no room for one."""
    look = partial(context.database.get, key)
    found = precondition(request.headers, u64(query, "if_revision"), u64(query, "if_offset"), look)
    return found if creates else of_existing(found)


def deleted(answer: Answer) -> Response:
    """The answer to a delete."""
    assert isinstance(answer, Deleted)
    return Response(b"{%b}" % deleted_members(answer))


def deleted_members(answer: Deleted) -> bytes:
    """What a delete says."""
    gone = b"true" if answer.deleted else b"false"
    return b'"deleted":%b,"offset":%b%b' % (gone, number(answer.offset), repeated(answer.repeated))


def repeated(is_repeated: bool) -> bytes:
    """The member that marks a write as done before, under the same op_id."""
    return _REPEATED[is_repeated]


def number(number: int | None) -> bytes:
    """A number of an answer, or null."""
    return b"null" if number is None else b"%d" % number
