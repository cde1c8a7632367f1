"""``kissvdb keys``: ask the running server to list, issue, rotate and revoke API keys."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from kissvdb.commands.server_call import calling
from kissvdb.core.grants import KINDS
from kissvdb.errors import Refused

IDLE_SECONDS_MAX = 60.0
_PATH = "/v1/auth/keys"
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LENGTH = re.compile(r"([0-9]{1,10})(ms|s|m|h|d)")
_COLUMNS = ("id", "name", "role", "scopes", "expires", "last used")


def length_ms(text: str) -> int:
    """Milliseconds of ``90s``, ``15m``, ``1h``, ``30d``. Raises ValueError."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise ValueError(f"a length of time looks like 90s, 15m, 1h or 30d, not {text!r}")
    return int(match[1]) * _UNITS_MS[match[2]]


def scope(text: str) -> tuple[str, str]:
    """The kind and the pattern of ``keys=a:*``. Raises ValueError."""
    kind, equals, pattern = text.partition("=")
    if not (equals and pattern) or kind not in KINDS:
        raise ValueError(f"a scope is KIND=PATTERN, of {', '.join(KINDS)}; not {text!r}")
    return kind, pattern


def listed(url: str, api_key: str) -> Iterator[str]:
    """A line for each key, in columns. Raises Refused and Unavailable."""
    keys = _call(url, api_key, _PATH, "GET")
    rows = [_COLUMNS, *map(_row, keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{part:{width}}" for part, width in zip(row, widths, strict=True)).rstrip()


def create(
    url: str,
    api_key: str,
    name: str,
    role: str,
    scopes: Sequence[tuple[str, str]],
    ttl_ms: int | None,
) -> dict[str, Any]:
    """Issue a key; answers what the server does. Raises Refused and Unavailable."""
    body: dict[str, Any] = {"name": name, "role": role, "ttl_ms": ttl_ms}
    if scopes:
        body["scopes"] = {}
        for kind, pattern in scopes:
            body["scopes"].setdefault(kind, []).append(pattern)
    made: dict[str, Any] = _call(url, api_key, _PATH, "POST", body)
    return made


def rotate(
    url: str, api_key: str, id_: str, grace_ms: int | None, ttl_ms: int | None
) -> dict[str, Any]:
    """Give a key another secret; answers what the server does."""
    body = {"grace_ms": grace_ms, "ttl_ms": ttl_ms}
    made: dict[str, Any] = _call(url, api_key, f"{_of(id_)}/rotate", "POST", body)
    return made


def revoke(url: str, api_key: str, id_: str) -> None:
    """Let a key be no more. Raises Refused, also for a key that is not there."""
    _call(url, api_key, _of(id_), "DELETE")


def _of(id_: str) -> str:
    return f"{_PATH}/{quote(id_, safe='')}"


def _call(url: str, api_key: str, path: str, method: str, body: Any = None) -> Any:
    if not api_key:
        raise Refused(
            "keys are issued with the server's own key: KISSVDB_KEY, RUSTKISS_API_KEY or --key"
        )
    with calling(
        url, api_key, path, method=method, body=body, idle_seconds_max=IDLE_SECONDS_MAX
    ) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    scopes = key["scopes"]
    said = [f"{kind}={each}" for kind, patterns in (scopes or {}).items() for each in patterns]
    return (
        key["id"],
        # A name may hold anything, and a terminal does what it is told.
        "".join(each if each.isprintable() else "?" for each in key["name"]),
        key["role"],
        "all" if scopes is None else " ".join(said) or "none",
        _at(key["expires_at_ms"]),
        _at(key["last_used_ms"]),
    )


def _at(time_ms: int | None) -> str:
    if time_ms is None:
        return "never"
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))
    except (OverflowError, ValueError, OSError):
        return str(time_ms)
