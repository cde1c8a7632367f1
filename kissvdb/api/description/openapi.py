"""The OpenAPI 3.1 description, made from the route table and the types of bodies and answers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kissvdb.api import bodies
from kissvdb.api.bulk.handlers import NDJSON
from kissvdb.api.description import yaml
from kissvdb.api.description.examples import TOUR, WORDS, Example, example
from kissvdb.api.frame.route import JSON, MERGE_PATCH, Parameter, Route, Scope, Success
from kissvdb.errors import (
    Forbidden,
    InvalidArgument,
    KissError,
    MistypedField,
    OffsetNotReached,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    Starting,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from kissvdb.version import VERSION

# Lines of JSON and msgpack have no schema of their own; the route's words say what they hold.
_BINARY = {"type": "string", "format": "binary"}

_REF = "#/components/schemas/{name}"
_REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}

_PATH_PARAMETERS = {
    "key": {"type": "string", "minLength": 1, "maxLength": 512},
    "asset": {"type": "string", "minLength": 1},
    "id": {"type": "string", "minLength": 1, "maxLength": 128},
    "collection": {
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
    },
}

_ABOUT = f"""\
State, one event log, and live streams of it.

Every write answers when it is durable, with its `offset` in the log. Every error is
`{{"error","message"}}`. GET routes answer HEAD too; OPTIONS answers CORS preflights. A key in a
path is percent-encoded UTF-8; slashes in it may be sent as they are. Bodies may come as gzip.

The examples below run as they stand, from top to bottom, on an empty server; the collection is
deleted last.

{TOUR}"""


def document(routes: Sequence[Route]) -> str:
    """The description as YAML."""
    return yaml.dump(description(routes))


def description(routes: Sequence[Route]) -> dict[str, Any]:
    """The description as plain data."""
    schemas, components = msgspec.json.schema_components(list(_types(routes)), ref_template=_REF)
    by_type = dict(zip(map(repr, _types(routes)), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    refusals: dict[str, list[type[KissError]]] = {}
    for route in routes:
        path = route.path.replace("...", "")
        paths[path][route.method.lower()] = _operation(route, by_type, refusals)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kissvdb",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        # The empty one: without a key configured the server is open.
        "security": [{}, {"bearer": []}, {"header": []}, {"query": []}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": dict(paths),
        "components": {
            "schemas": components,
            "responses": {
                name: _refusal(errors, by_type) for name, errors in sorted(refusals.items())
            },
            "headers": {
                "RequestId": {
                    "description": "The request's own id, or one made for it.",
                    "schema": {"type": "string"},
                },
                "RetryAfter": {
                    "description": "Seconds to wait before trying again.",
                    "schema": {"type": "integer"},
                },
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "query": {"type": "apiKey", "in": "query", "name": "api_key"},
            },
        },
    }


def _types(routes: Iterable[Route]) -> list[Any]:
    """Every type that needs a schema, each once, in order of appearance."""
    found: dict[str, Any] = {repr(bodies.ErrorBody): bodies.ErrorBody}
    for route in routes:
        for type_ in (route.body, *(answer.type for answer in (route.answer, *route.also))):
            if type_ is not None:
                found[repr(type_)] = type_
    return list(found.values())


def _operation(
    route: Route, schemas: dict[str, Any], refusals: dict[str, list[type[KissError]]]
) -> dict[str, Any]:
    """The operation object; the error answers it refers to are added to ``refusals``."""
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.operation_id,
        "tags": [route.tag],
    }
    if route.scope is Scope.PUBLIC:
        operation["security"] = []
    words, shown = WORDS.get(route.name), example(route)
    if words:
        operation["description"] = words
    parameters = [_path_parameter(name, shown) for name in route.path_parameters]
    parameters += [_parameter(parameter, shown) for parameter in route.all_parameters]
    if parameters:
        operation["parameters"] = parameters
    if route.body_media:
        schema = schemas[repr(route.body)]
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {media: _content(media, schema, shown) for media in _described(route)},
        }
    responses: dict[str, dict[str, Any]] = {}
    for answer in (route.answer, *route.also):
        success = _success(answer, schemas)
        former = responses.setdefault(str(answer.status), success)
        if former is not success:
            # Another form of the same answer.
            former["description"] += f" {success['description']}"
            former["content"] |= success["content"]
    by_status: dict[int, list[type[KissError]]] = defaultdict(list)
    for error in dict.fromkeys((*_common_errors(route), *route.errors)):
        by_status[error.status].append(error)
    for status in sorted(by_status):
        name = _refusal_name(by_status[status])
        refusals[name] = by_status[status]
        if str(status) not in responses:
            responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
        else:
            # What a protocol of its own refuses looks different.
            content = responses[str(status)]["content"][JSON]
            content["schema"] = {"anyOf": [content["schema"], schemas[repr(bodies.ErrorBody)]]}
    operation["responses"] = responses
    return operation


def _common_errors(route: Route) -> Iterable[type[KissError]]:
    """What any request may be told, whatever its operation does."""
    if route.scope is not Scope.PUBLIC:
        yield InvalidArgument
        yield Unauthorized
        yield RateLimited
    yield Forbidden
    if not route.any_query:
        yield MistypedField
    if route.bounded and route.waits:
        yield RequestTimeout
    if route.recovered:
        yield Starting
    if route.reads:
        yield OffsetNotReached
    if route.body_media:
        yield PayloadTooLarge
        yield UnsupportedMediaType
    yield KissError


def _described(route: Route) -> tuple[str, ...]:
    """The media types of its body. Lines that call themselves JSON are no JSON to a tool."""
    media = route.body_media
    return tuple(each for each in media if each != JSON) if NDJSON in media else media


def _content(media: str, schema: dict[str, Any], shown: Example) -> dict[str, Any]:
    if media in (JSON, MERGE_PATCH):
        return {"schema": schema, "example": shown.body}
    if media == NDJSON:
        # A default, not an example: tools that send examples have no writer for this media type.
        line = msgspec.json.encode(shown.body).decode()
        return {"schema": {"type": "string", "default": f"{line}\n"}}
    return {"schema": _BINARY}


def _path_parameter(name: str, shown: Example) -> dict[str, Any]:
    schema = _PATH_PARAMETERS[name]
    described = {"name": name, "in": "path", "required": True, "schema": schema}
    return {**described, "example": shown.path[name]}


def _parameter(parameter: Parameter, shown: Example) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.place == "query" and parameter.name in shown.query:
        described["example"] = shown.query[parameter.name]
    return described


def _success(answer: Success, schemas: dict[str, Any]) -> dict[str, Any]:
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in answer.headers.items()
    }
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": {**_REQUEST_ID, **headers},
    }
    if answer.media is not None:
        schema = {"type": "string"} if answer.type is None else schemas[repr(answer.type)]
        described["content"] = {answer.media: {"schema": schema}}
    return described


def _refusal_name(errors: list[type[KissError]]) -> str:
    return "-".join([str(errors[0].status), *(error.code for error in errors)])


def _refusal(errors: list[type[KissError]], schemas: dict[str, Any]) -> dict[str, Any]:
    reasons = "; ".join(f"`{error.code}`: {_what(error)}" for error in errors)
    headers = dict(_REQUEST_ID)
    if issubclass(errors[0], Unavailable):
        headers |= _RETRY_AFTER
    return {
        "description": reasons,
        "headers": headers,
        "content": {JSON: {"schema": schemas[repr(bodies.ErrorBody)]}},
    }


def _what(error: type[KissError]) -> str:
    if error is KissError:
        return "a bug in the server"
    return (error.__doc__ or "").strip().splitlines()[0].rstrip(".")
