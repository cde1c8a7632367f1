"""The tools: what each is called, what it takes and answers, and which routes it asks.

What a route refuses is no error of the protocol but the tool's answer, marked as an error: so the
model reads it, and can do better.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from kissvdb.api import bodies
from kissvdb.api.documents.find_bodies import FoundDocuments
from kissvdb.api.frame.principal import Principal, Scope
from kissvdb.api.mcp import answers, arguments, data, memory
from kissvdb.api.mcp.answers import schema_of
from kissvdb.api.mcp.asking import Asker, Failed, checked_size
from kissvdb.api.reading.json_body import Body, off_loop
from kissvdb.api.sql.bodies import QueryResult
from kissvdb.errors import KissError

_json = msgspec.json.encode


@attrs.frozen
class Tool:
    """``call`` asks the ``routes`` (the optional ones left out) and answers a value of ``answer``,
    or the JSON of one. ``kinds``: of the grants of a key, one of which it needs. ``scope``: the
    highest of the routes'. ``destroys``: what was there may be there no more; ``repeatable``: done
    twice it is as done once."""

    name: str
    title: str
    description: str
    arguments: Any
    answer: Any
    call: Callable[[Asker, Any], Awaitable[Any]]
    routes: tuple[str, ...]
    kinds: tuple[str, ...]
    scope: Scope = Scope.READ
    destroys: bool = False
    repeatable: bool = False
    body: Body[Any] = attrs.field(init=False)

    @body.default
    def _body(self) -> Body[Any]:
        return Body(self.arguments)

    def is_for(self, principal: Principal) -> bool:
        """Whether it is listed for who asks: it can do something with the key."""
        if not principal.may(self.scope):
            return False
        grants = principal.grants
        if grants is None:
            return True
        return any(getattr(grants, kind) for kind in self.kinds) and all(
            grants.may_route(*route.split(" ", 1)) for route in self.routes
        )

    def described(self) -> dict[str, Any]:
        """As tools/list shows it."""
        reads = self.scope is Scope.READ
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema_of(self.arguments),
            "outputSchema": schema_of(self.answer),
            "annotations": {
                "title": self.title,
                "readOnlyHint": reads,
                "destructiveHint": self.destroys,
                "idempotentHint": reads or self.repeatable,
                "openWorldHint": False,
            },
        }


_MEMORY = (
    Tool(
        "remember",
        "Remember",
        "Keep one fact for later conversations. To correct one, give the id of the former as "
        "supersedes; to replace it, its id.",
        arguments.Remember,
        answers.Remembered,
        memory.remember,
        ("POST /v1/batch",),
        ("documents",),
        Scope.WRITE,
        destroys=True,
    ),
    Tool(
        "recall",
        "Recall",
        "Memories about something, the best first; what was superseded or forgotten is left out.",
        arguments.Recall,
        answers.Recalled,
        memory.recall,
        ("POST /v1/doc/{collection}/search",),
        ("documents",),
    ),
    Tool(
        "as_of",
        "As it was",
        "Memories as they were at an earlier offset of the log, also those that have been changed, "
        "superseded or forgotten since.",
        arguments.AsOf,
        answers.MemoriesAsOf,
        memory.as_of,
        ("GET /v1/doc/{collection}/{id}", "GET /v1/state"),
        ("documents",),
    ),
    Tool(
        "changed_since",
        "What has changed",
        "What was remembered and forgotten after an offset, in order. Keep the offset of the "
        "answer and ask with it next time.",
        arguments.ChangedSince,
        answers.Changes,
        memory.changed_since,
        ("GET /v1/stream",),
        ("documents",),
    ),
    Tool(
        "forget",
        "Forget",
        "Delete a memory for good. What is merely true no longer is better superseded.",
        arguments.Forget,
        answers.Forgotten,
        memory.forget,
        ("POST /v1/batch",),
        ("documents",),
        Scope.WRITE,
        destroys=True,
        repeatable=True,
    ),
)

_DATA = (
    Tool(
        "collections",
        "What there is",
        "The collections of documents and of vectors, and the tables of SQL.",
        arguments.Collections,
        answers.Everything,
        data.collections,
        ("GET /v1/doc", "GET /v1/vector"),
        ("documents", "vectors", "tables"),
    ),
    Tool(
        "search",
        "Search by words",
        "Documents by their words, or vectors by words and, where there is a model, by meaning; "
        "the best first.",
        arguments.Search,
        answers.Hits,
        data.search,
        (),
        ("documents", "vectors"),
    ),
    Tool(
        "find",
        "Find by fields",
        "Documents that pass a filter, sorted, a page at a time; also counts and facets.",
        arguments.Find,
        FoundDocuments,
        data.find,
        ("POST /v1/doc/{collection}/find",),
        ("documents",),
    ),
    Tool(
        "sql_query",
        "Query by SQL",
        "One SELECT (SQLite) over tables, documents, vectors, keys and events. It only reads.",
        arguments.SqlQuery,
        QueryResult,
        data.sql_query,
        ("POST /v1/sql/query",),
        ("tables", "documents", "vectors", "keys", "events"),
    ),
    Tool(
        "publish",
        "Publish an event",
        "Append an event to the log; whoever follows the stream hears of it at once.",
        arguments.Publish,
        bodies.PublishedEvent,
        data.publish,
        ("POST /v1/events",),
        ("events",),
        Scope.WRITE,
    ),
    Tool(
        "state_get",
        "Read a key",
        "The value of a key, its revision and offset; also as it was at an earlier offset.",
        arguments.StateGet,
        bodies.StateItem,
        data.state_get,
        ("GET /v1/state/{key}",),
        ("keys",),
    ),
    Tool(
        "state_put",
        "Write a key",
        "Set a key to any JSON. With if_revision only over what was read, so that nobody's change "
        "is lost.",
        arguments.StatePut,
        bodies.WrittenKey,
        data.state_put,
        ("PUT /v1/state/{key}",),
        ("keys",),
        Scope.WRITE,
        destroys=True,
        repeatable=True,
    ),
)

TOOLS: Mapping[str, Tool] = {each.name: each for each in (*_MEMORY, *_DATA)}


def listed(principal: Principal) -> Sequence[dict[str, Any]]:
    """The tools of a key."""
    return [each.described() for each in TOOLS.values() if each.is_for(principal)]


async def called(asker: Asker, tool: Tool, given: bytes) -> dict[str, Any]:
    """The result of a call; ``given`` are the arguments as JSON."""
    try:
        return _told(checked_size(await _answered(asker, tool, given)))
    except Failed as failed:
        text = f"{failed.code}: {failed.message}"
        return {"content": [{"type": "text", "text": text}], "isError": True}


def _told(answer: bytes) -> dict[str, Any]:
    return {
        "content": [{"type": "text", "text": answer.decode()}],
        "structuredContent": msgspec.Raw(answer),
        "isError": False,
    }


async def _answered(asker: Asker, tool: Tool, given: bytes) -> bytes:
    strict = asker.context.strict
    try:
        wanted = await off_loop(given, lambda: tool.body.read(given, strict=strict))
    except KissError as refusal:
        refusal.reword(_of_arguments(refusal.message))
        raise Failed.of(refusal) from refusal
    try:
        found = await tool.call(asker, wanted)
    except Failed as failed:
        failed.message = _of_arguments(failed.message)
        raise
    return found.strip() if isinstance(found, bytes) else _json(found)


_PLACES = (
    (re.compile(r"^(?:body\.)?operations\[\d+\]: "), ""),
    (re.compile(r"^query\.(?:at|since)(?=:)"), "arguments.offset"),
    (re.compile(r"^(?:body|query)(?=[.:])"), "arguments"),
    (re.compile(r"^filters\.\$and\[1\]"), "arguments.filter"),
)


def _of_arguments(message: str) -> str:
    """What the routes call the body or the query is here what a tool is given."""
    for place, name in _PLACES:
        found = place.sub(name, message)
        if found != message:
            return found
    return message
