"""POST /mcp: one message in, one answer out. Every method there is, by its name and its era."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import msgspec

from kissvdb.api.events.handlers import STREAM_HEADERS
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Answer, Request, Response, StreamResponse
from kissvdb.api.mcp import prompts, resources, tools
from kissvdb.api.mcp.asking import Asker, Failed
from kissvdb.api.mcp.listening import URIS_MAX, Listening, Wanted
from kissvdb.api.mcp.protocol import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    RESOURCE_NOT_FOUND,
    SERVER_INFO,
    SUPPORTED,
    WITH_HANDSHAKE,
    Era,
    Id,
    Message,
    ProtocolError,
    answer,
    era_of,
    read,
    refusal,
    takes_events,
)
from kissvdb.api.mcp.resources import Address, BadUri
from kissvdb.api.reading.json_body import off_loop

ABOUT_TTL_MS = 3_600_000
"""What depends on the version of the server and on the key."""
LIST_TTL_MS = 0
"""Collections come and go: subscribe, to hear of it."""
NAME_SHOWN = 100

INSTRUCTIONS = """\
A database with a memory for you: remember facts and recall them in later conversations; \
documents, vectors, keys, events and SQL beside it. `collections` tells what there is. Every write \
answers an `offset`, a place in the log: `changed_since` and `as_of` go by it."""


_NO_ARGUMENTS = msgspec.Raw(b"{}")


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = _NO_ARGUMENTS


class _Page(msgspec.Struct):
    cursor: str | None = None


class _Uri(msgspec.Struct):
    uri: str


class _Prompt(msgspec.Struct):
    name: str
    arguments: dict[str, str] | None = None


class _Begin(msgspec.Struct, rename="camel"):
    protocol_version: str


class _Filter(msgspec.Struct, rename="camel"):
    resource_subscriptions: list[str] | None = None
    resources_list_changed: bool | None = None


class _Listen(msgspec.Struct):
    notifications: _Filter


@attrs.frozen
class Call:
    """A request, with what it takes to answer it."""

    asker: Asker
    id: Id
    params: msgspec.Raw | None
    era: Era

    def read(self, type_: type[Any]) -> Any:
        """Its parameters. Raises ProtocolError."""
        try:
            return msgspec.json.decode(self.params or b"{}", type=type_)
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            raise ProtocolError(INVALID_PARAMS, f"params: {problem}"[:300]) from problem


async def post(context: Context, request: Request) -> Answer:
    """What each refuses is told as an error of JSON-RPC, under the id of the request."""
    try:
        message = await off_loop(request.body, read, request.body)
    except ProtocolError as error:
        return refusal(None, error, None)
    if message.id is None:
        # There is nothing that a notification could be about: who wants a stream to end, leaves.
        return Response(status=202)
    era: Era | None = None
    try:
        era = era_of(message, request.headers)
        call = Call(Asker(context, request), message.id, message.params, era)
        if message.method == "subscriptions/listen" and era.stateless:
            return await _listen(call, request)
        return answer(message.id, await _method(message, era)(call), era)
    except ProtocolError as error:
        return refusal(message.id, error, era)
    except BadUri as error:
        return refusal(message.id, ProtocolError(INVALID_PARAMS, str(error)), era)
    except Failed as failed:
        code = INTERNAL_ERROR if failed.status >= 429 else INVALID_PARAMS
        told = ProtocolError(code, f"{failed.code}: {failed.message}")
        return refusal(message.id, told, era)


def _method(message: Message, era: Era) -> "Method":
    method = _COMMON.get(message.method)
    if method is None:
        method = (_STATELESS if era.stateless else _WITH_HANDSHAKE).get(message.method)
    if method is None:
        known = ", ".join((*_COMMON, *(_STATELESS if era.stateless else _WITH_HANDSHAKE)))
        raise ProtocolError(
            METHOD_NOT_FOUND, f"no method {message.method[:NAME_SHOWN]!r}: there are {known}"
        )
    return method


async def _discover(call: Call) -> Mapping[str, Any]:
    return {
        "supportedVersions": list(SUPPORTED),
        "capabilities": {
            "tools": {},
            "prompts": {},
            "resources": {"subscribe": True, "listChanged": True},
        },
        "instructions": INSTRUCTIONS,
        **_kept(ABOUT_TTL_MS),
    }


async def _initialize(call: Call) -> Mapping[str, Any]:
    wanted = call.read(_Begin).protocol_version
    version = wanted if wanted in WITH_HANDSHAKE else WITH_HANDSHAKE[0]
    return {
        "protocolVersion": version,
        "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
        "serverInfo": SERVER_INFO,
        "instructions": INSTRUCTIONS,
    }


async def _ping(call: Call) -> Mapping[str, Any]:
    return {}


async def _list_tools(call: Call) -> Mapping[str, Any]:
    _check_only_page(call)
    return {"tools": tools.listed(call.asker.principal), **_kept(ABOUT_TTL_MS)}


async def _call_tool(call: Call) -> Mapping[str, Any]:
    wanted = call.read(_Call)
    tool = tools.TOOLS.get(wanted.name)
    if tool is None:
        known = ", ".join(tools.TOOLS)
        raise ProtocolError(
            INVALID_PARAMS, f"no tool {wanted.name[:NAME_SHOWN]!r}: there are {known}"
        )
    given = bytes(wanted.arguments)
    return await tools.called(call.asker, tool, b"{}" if given == b"null" else given)


async def _list_prompts(call: Call) -> Mapping[str, Any]:
    _check_only_page(call)
    return {"prompts": prompts.listed(call.asker.principal), **_kept(ABOUT_TTL_MS)}


async def _get_prompt(call: Call) -> Mapping[str, Any]:
    wanted = call.read(_Prompt)
    prompt = prompts.PROMPTS.get(wanted.name)
    if prompt is None:
        known = ", ".join(prompts.PROMPTS)
        raise ProtocolError(
            INVALID_PARAMS, f"no prompt {wanted.name[:NAME_SHOWN]!r}: there are {known}"
        )
    question = (wanted.arguments or {}).get("question", "")
    if prompt.with_memories and not question:
        raise ProtocolError(INVALID_PARAMS, "params.arguments.question: is needed")
    return await prompts.got(call.asker, prompt, question)


async def _list_resources(call: Call) -> Mapping[str, Any]:
    found, cursor = await resources.page(call.asker, call.read(_Page).cursor)
    more = {} if cursor is None else {"nextCursor": cursor}
    return {"resources": found, **more, **_kept(LIST_TTL_MS)}


async def _list_templates(call: Call) -> Mapping[str, Any]:
    _check_only_page(call)
    found = resources.templates(call.asker.principal)
    return {"resourceTemplates": found, **_kept(ABOUT_TTL_MS)}


async def _read_resource(call: Call) -> Mapping[str, Any]:
    uri = call.read(_Uri).uri
    try:
        return {"contents": [await resources.read(call.asker, uri)], **_kept(LIST_TTL_MS)}
    except Failed as failed:
        if failed.status != 404:
            raise
        code = INVALID_PARAMS if call.era.stateless else RESOURCE_NOT_FOUND
        raise ProtocolError(code, f"{failed.code}: {failed.message}", {"uri": uri}) from failed


async def _listen(call: Call, request: Request) -> Answer:
    if not takes_events(request):
        raise ProtocolError(
            INVALID_REQUEST,
            "the answer is a stream: send accept: application/json, text/event-stream",
        )
    asked = call.read(_Listen).notifications
    uris = asked.resource_subscriptions or []
    if len(uris) > URIS_MAX:
        raise ProtocolError(
            INVALID_PARAMS, f"resourceSubscriptions: {len(uris)}, at most {URIS_MAX} in one stream"
        )
    asker = call.asker
    addresses = {uri: Address.of(uri) for uri in uris}
    granted = {uri: each for uri, each in addresses.items() if each.is_granted(asker.principal)}
    wanted = Wanted(granted, lists=bool(asked.resources_list_changed))
    stream = await asker.stream(since="now", vectors=False, **wanted.filters)
    try:
        found = await resources.collections(asker) if wanted.lists else []
    except BaseException:
        await Listening(asker, call.id, wanted, stream.body, frozenset()).aclose()
        raise
    known = frozenset(each[:2] for each in found)
    body = Listening(asker, call.id, wanted, stream.body, known)
    return StreamResponse(body, headers=STREAM_HEADERS)


def _check_only_page(call: Call) -> None:
    if call.read(_Page).cursor is not None:
        raise ProtocolError(INVALID_PARAMS, "cursor: not one of an answer before: it has one page")


def _kept(ttl_ms: int) -> dict[str, Any]:
    """How long a client may keep an answer: for itself, since it is of its key."""
    return {"ttlMs": ttl_ms, "cacheScope": "private"}


Method = Callable[[Call], Awaitable[Mapping[str, Any]]]

_COMMON: Mapping[str, Method] = {
    "tools/list": _list_tools,
    "tools/call": _call_tool,
    "resources/list": _list_resources,
    "resources/templates/list": _list_templates,
    "resources/read": _read_resource,
    "prompts/list": _list_prompts,
    "prompts/get": _get_prompt,
}
_STATELESS: Mapping[str, Method] = {"server/discover": _discover}
_WITH_HANDSHAKE: Mapping[str, Method] = {"initialize": _initialize, "ping": _ping}
