"""Ids of requests: a client's own, if it can stand in a log line and in a header."""

LENGTH_MAX = 128

_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def is_sane(request_id: str) -> bool:
    """Whether an id is taken over from the client."""
    return 0 < len(request_id) <= LENGTH_MAX and _CHARACTERS.issuperset(request_id)
