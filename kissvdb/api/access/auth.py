"""Where a request carries its API key, and the key of the configuration, compared in constant time:
the time of a refusal says nothing about it."""

from collections.abc import Mapping
from hmac import compare_digest

from kissvdb.api.reading.query import parse_query
from kissvdb.errors import Unauthorized

HOW = "send it as Authorization: Bearer KEY, as x-api-key, or as ?api_key= (EventSource)"


def key_of(headers: Mapping[str, str], query: str) -> str:
    """The key that a request carries. Raises Unauthorized when it has none.

    An Authorization header is the only place looked at when there is one: with another scheme
    than Bearer it is refused, not passed over.
    """
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized(f"Authorization must use the scheme Bearer: {HOW}")
        return given.strip()
    found = headers.get("x-api-key")
    if found is None:
        found = parse_query(query).get("api_key")
    if found is None:
        raise Unauthorized(f"this server needs an API key: {HOW}")
    return found


def is_same(given: str, expected: bytes) -> bool:
    """Whether the key is the one that is configured; none is when ``expected`` is empty."""
    return compare_digest(given.encode("utf-8", "surrogateescape"), expected) and bool(expected)
