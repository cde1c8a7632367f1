"""Keys as a tree over HTTP: what is one level below a prefix."""

import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.query import parse_query, u64
from kissvdb.api.state.handlers import LIST_LIMIT_DEFAULT, cursor_of, key_of
from kissvdb.engine.tables.branches import level
from kissvdb.errors import InvalidArgument

SEPARATOR = ":"
SEPARATOR_CHARS_MAX = 16


async def tree(context: Context, request: Request) -> Response:
    query = parse_query(request.query)
    prefix = query.get("prefix", "")
    limits.check_prefix(prefix, context.config.limits)
    separator = query.get("separator", SEPARATOR)
    if not 0 < len(separator) <= SEPARATOR_CHARS_MAX:
        raise InvalidArgument(
            f"query.separator: 1 to {SEPARATOR_CHARS_MAX} characters, such as {SEPARATOR}"
        )
    limit = u64(query, "limit")
    limit = LIST_LIMIT_DEFAULT if limit is None else limit
    most = max(1, min(limit, context.config.limits.list_limit_max))
    cursor = query.get("cursor")
    start = key_of(cursor) if cursor else None
    if start is not None and not start.startswith(prefix):
        raise InvalidArgument("query.cursor: it is of a list with another prefix")
    found = await level(context.database.sources, prefix, separator, start, most)
    answer = {
        "prefix": prefix,
        "entries": found.entries,
        "cursor": None if found.cursor is None else cursor_of(found.cursor),
        "offset": found.offset,
    }
    return Response(msgspec.json.encode(answer))
