"""API key, in constant time: the time of a refusal says nothing about the key."""

from collections.abc import Mapping
from hmac import compare_digest

from kissvdb.api.reading.query import parse_query
from kissvdb.errors import Unauthorized

_HOW = "send it as Authorization: Bearer KEY, as x-api-key, or as ?api_key= (EventSource)"


def check_api_key(headers: Mapping[str, str], query: str, expected: bytes) -> None:
    """Raises Unauthorized unless the request carries the key.

    An Authorization header is the only place looked at when there is one: with another scheme
    than Bearer it is refused, not passed over.
    """
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized(f"Authorization must use the scheme Bearer: {_HOW}")
        given = given.strip()
    else:
        found = headers.get("x-api-key")
        if found is None:
            found = parse_query(query).get("api_key")
        if found is None:
            raise Unauthorized(f"this server needs an API key: {_HOW}")
        given = found
    if not compare_digest(given.encode("utf-8", "surrogateescape"), expected):
        raise Unauthorized(f"the API key is not the server's: {_HOW}")
