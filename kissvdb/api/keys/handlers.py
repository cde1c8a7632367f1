"""Keys are issued, rotated and revoked by admins. Answers are kept in no cache."""

from difflib import get_close_matches
from functools import partial
from typing import Any

import msgspec
import trio

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.keys.bodies import ApiKey, NewApiKey, NewKeyBody, RotateBody, ScopesBody
from kissvdb.api.reading.json_body import Body, off_loop
from kissvdb.core.grants import Grants
from kissvdb.core.keys.view import IssuedKey
from kissvdb.core.quotas import KeyLimits
from kissvdb.engine.keys.model import NewSecret
from kissvdb.errors import MistypedField
from kissvdb.records import ApiKeyIssued

ISSUE = Body(NewKeyBody)
ROTATE = Body(RotateBody)

INLINE_KEYS_MAX = 100
"""A list of more is made in a thread: each key takes some 5 us."""

_PRIVATE = (("cache-control", "no-store"),)
_USER = "user"

_encode = msgspec.json.encode
_decode = msgspec.json.decode


async def list_keys(context: Context, request: Request) -> Response:
    keys = context.database.keys
    issued, used = list(keys.view.keys.values()), dict(keys.last_used_ms)
    make = partial(_list, issued, used)
    body = make() if len(issued) <= INLINE_KEYS_MAX else await trio.to_thread.run_sync(make)
    return Response(body, headers=_PRIVATE)


async def issue(context: Context, request: Request) -> Response:
    body = await off_loop(request.body, _read_new, context, request)
    permissions = _encode(body.permissions or {})
    limits.check_json_size(permissions, context.config.limits, "body.permissions")
    made = await context.database.keys.issue(
        body.name,
        "write" if body.role in (None, _USER) else str(body.role),
        scopes=_grants(body.scopes),
        limits=None if body.limits is None else KeyLimits.from_json(body.limits, "body.limits"),
        permissions=permissions,
        ttl_ms=body.ttl_ms,
        expires_at_ms=body.expires_at_ms,
    )
    return _new(made)


async def rotate(context: Context, request: Request) -> Response:
    body = ROTATE.read(request.body or b"{}", strict=context.strict)
    _check_one_end(body)
    made = await context.database.keys.rotate(
        request.params["id"],
        grace_ms=body.grace_ms or 0,
        ttl_ms=body.ttl_ms,
        expires_at_ms=body.expires_at_ms,
    )
    return _new(made)


async def revoke(context: Context, request: Request) -> Response:
    await context.database.keys.revoke(request.params["id"])
    return Response(status=204)


def _read_new(context: Context, request: Request) -> NewKeyBody:
    body = ISSUE.read(request.body, strict=context.strict)
    _check_one_end(body)
    return body


def _check_one_end(body: NewKeyBody | RotateBody) -> None:
    if body.ttl_ms is not None and body.expires_at_ms is not None:
        raise MistypedField("body: give ttl_ms or expires_at_ms, not both")


def _grants(scopes: ScopesBody | None) -> Grants | None:
    if scopes is None:
        return None
    given = {kind: getattr(scopes, kind) for kind in scopes.__struct_fields__}
    grants = Grants.from_json(
        {kind: patterns for kind, patterns in given.items() if patterns is not None},
        "body.scopes",
    )
    for place, pattern in enumerate(grants.routes or ()):
        _check_route(pattern, f"body.scopes.routes[{place}]")
    return grants


def _check_route(pattern: str, where: str) -> None:
    """Raises MistypedField for what is no route: a key that is issued stays as it is."""
    # The table of routes names this module's handlers.
    from kissvdb.api.routes import ROUTES

    one = Grants(routes=(pattern,))
    if any(one.may_route(route.method, route.path) for route in ROUTES):
        return
    paths = {route.path for route in ROUTES}
    close = get_close_matches(pattern.rpartition(" ")[2].rstrip("*")[:200], paths, n=1, cutoff=0.0)
    raise MistypedField(
        f"{where}: there is no route {pattern[:200]!r}; the nearest is {close[0]!r}: write a path "
        "as docs/api.md has it, also with a method before it or * at its end"
    )


def _new(made: NewSecret) -> Response:
    record = made.record
    answer = NewApiKey(
        record.id,
        made.text,
        record.name,
        _role(record),
        _json_of(record.scopes),
        _json_of(record.limits),
        record.expires_at_ms,
        record.former_until_ms,
        made.offset,
    )
    return Response(_encode(answer), headers=_PRIVATE)


def _list(issued: list[IssuedKey], last_used_ms: dict[str, int]) -> bytes:
    return _encode([_listed(each.record, last_used_ms.get(each.record.id)) for each in issued])


def _listed(record: ApiKeyIssued, last_used_ms: int | None) -> ApiKey:
    return ApiKey(
        record.id,
        record.name,
        _role(record),
        _json_of(record.scopes),
        _json_of(record.limits),
        _decode(record.permissions),
        record.created_at_ms,
        record.expires_at_ms,
        record.rotated_at_ms,
        record.former_until_ms,
        last_used_ms,
    )


def _role(record: ApiKeyIssued) -> Any:
    return record.role


def _json_of(stored: bytes | None) -> Any:
    return None if stored is None else _decode(stored)
