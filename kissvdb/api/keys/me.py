"""Who a caller is to the server: what a program, or the page, asks before it offers anything."""

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.frame.principal import ANYBODY
from kissvdb.api.keys.bodies import Me, Used
from kissvdb.version import VERSION

_PRIVATE = (("cache-control", "no-store"),)


def me(context: Context, request: Request) -> Response:
    principal = request.principal
    used = None
    expires_at_ms = None
    if principal.key_id is not None:
        amount = context.database.quotas.used(principal.key_id)
        used = None if amount is None else Used(amount.rows, amount.bytes)
        issued = context.database.keys.view.keys.get(principal.key_id)
        expires_at_ms = None if issued is None else issued.record.expires_at_ms
    answer = Me(
        principal.name,
        principal.scope.name.lower(),
        principal.key_id,
        None if principal.grants is None else principal.grants.to_json(),
        None if principal.limits is None else principal.limits.to_json(),
        used,
        expires_at_ms,
        principal is not ANYBODY,
        VERSION,
        round(context.metrics.started_at_secs * 1000),
    )
    return Response(msgspec.json.encode(answer), headers=_PRIVATE)
