"""Every route x every role x inside and outside of the scopes, made from the table of routes.

A route that nobody thought of fails here: one without a decision cannot be made (`Route.reach`),
one that needs an example request and has none is named, and so is an operation without one.
"""

import re
from typing import get_args

import attrs
import msgspec
import pytest

from kissvdb.api.access import commands
from kissvdb.api.access.reach import check_reach
from kissvdb.api.bulk.operations import Line
from kissvdb.api.description.examples import example
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.api.frame.principal import Scope
from kissvdb.api.frame.reach import NOTHING, Names, Reach
from kissvdb.api.frame.route import Parameter, Route, Success
from kissvdb.api.routes import ROUTES
from kissvdb.core.grants import Grants
from kissvdb.errors import Forbidden, KissError
from tests.api.caller import message, opened, reading
from tests.api.keyed import keyed

KINDS = ("keys", "vectors", "documents", "tables", "events")
ROLES = {"read": Scope.READ, "write": Scope.WRITE, "admin": Scope.ADMIN}
GRANTS = {
    "all": None,
    "inside": Grants.from_json({kind: ["*"] for kind in KINDS}),
    # Of every kind something, and nothing of what the examples are about.
    "outside": Grants.from_json({kind: ["elsewhere", "else:*"] for kind in KINDS}),
}
KEYS = {
    f"{role}_{where}": (scope, grants)
    for role, scope in ROLES.items()
    for where, grants in GRANTS.items()
}
OUTSIDE = [name for name in KEYS if name.endswith("_outside")]
DROPS = [route for route in ROUTES if route.method == "DELETE"]
IN_ORDER = [route for route in ROUTES if route not in DROPS] + DROPS
FORBIDDEN = (401, 403)


def asked(route):
    """Method, target, body and headers of the example of a route."""
    shown = example(route)
    missing = set(route.path_parameters) - set(shown.path)
    assert not missing, f"{route.name} needs an example (description/examples.py) with {missing}"
    assert route.body is None or shown.body is not None, f"{route.name} needs a body to show"
    path = route.path.replace("...", "")
    for name, value in shown.path.items():
        path = path.replace("{" + name + "}", value)
    query = "&".join(f"{name}={value}" for name, value in shown.query.items())
    body = b"" if shown.body is None else msgspec.json.encode(shown.body)
    headers = {"content_type": route.body_media[0]} if body else {}
    return route.method, f"{path}?{query}" if query else path, body, headers


async def ask(holder, route):
    """The answer to the example of a route: status and body; of a stream, all there is by now."""
    method, target, body, headers = asked(route)
    answer = await holder(method, target, body=body, **headers)
    if isinstance(answer, Response):
        return answer.status, answer.body
    assert isinstance(answer, StreamResponse)
    blobs = []

    async def keep(blob):
        blobs.append(blob)

    if answer.content_type == "text/event-stream":
        await answer.body.catch_up(keep)
    await answer.body.aclose()
    return answer.status, b"".join(blobs)


async def ask_all(holder, routes=IN_ORDER):
    answers = {route.name: await ask(holder, route) for route in routes}
    # Where the log is by now is nobody's secret.
    return {
        name: (status, re.sub(rb'"offset":\d+', b"", body))
        for name, (status, body) in answers.items()
    }


def check_refused(route, status, body):
    """What the table says of a request for what is not granted."""
    reach = route.reach
    if reach.path or reach.query or reach.always or reach.everything:
        named = any(names is not Names.PART for names in (reach.path | reach.query).values())
        if named or reach.always or reach.everything:
            assert status == 403, route.name
            assert msgspec.json.decode(body)["error"] == "forbidden"
            return
    if reach.commands:
        assert b'"forbidden"' in body, route.name
        assert b'"ok"' not in body
        return
    if reach.tables and route.scope is Scope.WRITE:
        assert status == 403, route.name
        return
    assert status == 200 or reach in (NOTHING, Reach(path={"asset": Names.PART})), route.name


@pytest.fixture
async def keys():
    async with keyed(**KEYS) as found:
        yield found


async def test_every_route_and_role_inside_and_outside(keys):
    for route in IN_ORDER:
        for name, (scope, _) in {"nobody": (Scope.PUBLIC, None), **KEYS}.items():
            status, body = await ask(keys(None if name == "nobody" else name), route)
            where = f"{route.name} as {name}: {status} {body[:200]!r}"
            if name == "nobody":
                assert (status == 401) == (route.scope is not Scope.PUBLIC), where
            elif scope < route.scope:
                assert status == 403, where
                assert msgspec.json.decode(body)["error"] == "forbidden"
            elif name.endswith("_outside"):
                check_refused(route, status, body)
            elif route.reach.everything and name.endswith("_inside"):
                assert status == 403, where
            else:
                assert status not in FORBIDDEN, where
                assert b'"error":"forbidden"' not in body, where


async def test_who_is_outside_is_answered_alike_whether_or_not_there_is_something(keys):
    told = [route for route in IN_ORDER if route.reach != NOTHING]
    before = {name: await ask_all(keys(name), told) for name in OUTSIDE}
    answers = await ask_all(keys("admin_all"), [each for each in IN_ORDER if each not in DROPS])
    assert sum(status == 200 for status, _ in answers.values()) > 40
    after = {name: await ask_all(keys(name), told) for name in OUTSIDE}
    assert after == before


class Wire:
    """A database that nobody may ask anything, but what is no question about data."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        return Wire(f"{self._name}.{name}")

    def __call__(self, *given):
        harmless = self._name.endswith(".concerns") and isinstance(given[0], KissError)
        assert harmless, f"{self._name} was asked"


async def test_what_is_refused_never_reaches_the_database(keys):
    """So the time of a refusal says nothing, either: there is nothing that takes any."""
    api = keys("admin_outside").caller.api
    api._context = attrs.evolve(api._context, database=Wire("database"))
    for route in IN_ORDER:
        if (
            route.reach.filtered
            or route.reach.tables
            or route.reach in (NOTHING, Reach(path={"asset": Names.PART}))
        ):
            continue
        for _ in range(2):
            check_refused(route, *await ask(keys("admin_outside"), route))
        # The door of the fast lane, which asks without a task.
        method, target, body, headers = asked(route)
        path, _, query = target.partition("?")
        bound, params = api.find(method, path)
        if not bound.prompt:
            continue
        key = keys("admin_outside").key
        fields = {"x-api-key": key, "content-type": headers.get("content_type", "")}
        begun = api.begin(Request(method, path, query, fields, body, params), bound)
        if begun is not None:
            check_refused(route, begun.status, begun.body)


async def test_a_route_may_be_taken_away(keys):
    grants = attrs.evolve(GRANTS["inside"], routes=("GET /v1/state/{key}", "/v1/doc*"))
    for route in ROUTES:
        if route.reach.everything:
            continue
        path = dict.fromkeys(route.path_parameters, "x")
        request = Request(route.method, route.path, params=path, query="prefix=a")
        kept = route.name == "GET /v1/state/{key}" or route.path.startswith("/v1/doc")
        if kept:
            check_reach(grants, route, request)
        else:
            with pytest.raises(Forbidden, match=re.escape(route.name)):
                check_reach(grants, route, request)


# One of each kind, for bodies of operations.
OPERATIONS = {
    "put": {"key": "k", "value": 1},
    "patch": {"key": "k", "patch": {"a": 1}},
    "delete": {"key": "k"},
    "event": {"type": "t", "data": 1},
    "upsert": {"collection": "notes", "id": "a", "vector": [1, 0, 0]},
    "add": {"collection": "notes", "id": "b", "vector": [1, 0, 0]},
    "update": {"collection": "notes", "id": "a", "meta": {}},
    "vector_delete": {"collection": "notes", "id": "b"},
    "doc_put": {"collection": "books", "id": "1", "doc": {}},
    "doc_patch": {"collection": "books", "id": "1", "patch": {}},
    "doc_delete": {"collection": "books", "id": "1"},
    "sql": {"sql": "INSERT INTO sales VALUES (1)"},
}
PRECONDITIONS = [
    {"key": "k", "if_absent": True},
    {"documents": "books", "id": "1", "if_absent": True},
    {"vectors": "notes", "id": "a", "if_absent": True},
    {"documents": "books", "if_filter_count": {"at_least": 0}},
    {"vectors": "notes", "if_filter_count": {"at_least": 0}},
]


async def test_every_operation_of_a_body_inside_and_outside(keys):
    tags = {each.__struct_config__.tag for each in get_args(Line)}
    assert tags == set(OPERATIONS), "an operation needs an example here"
    inside, outside = keys("write_inside"), keys("write_outside")
    mine = {"op": "put", "key": "else:1", "value": 1}
    for tag, fields in OPERATIONS.items():
        operation = {"op": tag, **fields}
        lines = b"\n".join(map(msgspec.json.encode, (mine, operation, mine)))
        answer = await outside("POST", "/v1/bulk", body=lines, content_type="application/x-ndjson")
        states = [msgspec.json.decode(line) for line in answer.body.splitlines()]
        assert [each["status"] for each in states] == ["ok", "error", "ok"], tag
        assert states[1]["error"]["error"] == "forbidden"
        answer = await outside("POST", "/v1/batch", {"operations": [mine, operation]})
        assert answer.status == 403
        assert reading(answer)["operation"] == 1
        assert message(answer).removeprefix("body.").startswith("operations[1]: ")
        answer = await inside("POST", "/v1/batch", {"operations": [operation]})
        assert answer.status not in FORBIDDEN
    for condition in PRECONDITIONS:
        wanted = {"operations": [mine], "preconditions": [{"key": "else:2", "if_absent": True}]}
        wanted["preconditions"].append(condition)
        answer = await outside("POST", "/v1/batch", wanted)
        assert (answer.status, reading(answer)["precondition"]) == (403, 1)
        assert (await inside("POST", "/v1/batch", wanted)).status not in FORBIDDEN


async def test_every_command_of_the_database_is_known():
    async with opened() as caller:
        assert set(caller.database._routes) <= set(commands._CHECKS)


def test_a_route_without_a_decision_cannot_be_made():
    assert attrs.fields_dict(Route)["reach"].default is attrs.NOTHING
    given = {"scope": Scope.READ, "parameters": (Parameter("q", "", {}),)}
    parts = ("GET", "/v1/x/{name}", print, "", "x", Success(""))
    for reach in (NOTHING, Reach(path={"other": Names.KEY})):
        with pytest.raises(AssertionError, match="reach"):
            Route(*parts, reach=reach, **given)
    with pytest.raises(AssertionError, match="reach"):
        Route(*parts, reach=Reach(path={"name": Names.KEY}, query={"p": Names.KEY}), **given)


def test_the_table_decides_deliberately():
    """Route by route: what is about the whole database, and what touches no data at all."""
    assert {route.name for route in ROUTES if route.reach.everything} == {
        *("GET /v1/metrics", "GET /v1/stats", "POST /v1/snapshot", "GET /v1/backup"),
        *("GET /v1/auth/keys", "POST /v1/auth/keys", "DELETE /v1/auth/keys/{id}"),
        "POST /v1/auth/keys/{id}/rotate",
    }
    untouched = [route.scope for route in ROUTES if route.reach == NOTHING]
    assert set(untouched) == {Scope.PUBLIC}
