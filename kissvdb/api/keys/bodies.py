"""The JSON of API keys."""

from typing import Annotated, Any, Literal

import attrs
import msgspec

from kissvdb.api.bodies import RequestBody
from kissvdb.core.quotas import KeyLimits

TIME_MS_MAX = 2**53
"""Of times and lengths of time: far enough, and exact in every client."""
NAME_CHARACTERS_MAX = 200

_TimeMs = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=TIME_MS_MAX,
        description="When the key ends: Unix time in milliseconds.",
        extra_json_schema={"format": "uint64"},
    ),
]
_LengthMs = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=TIME_MS_MAX,
        description="Milliseconds from now until the key ends, instead of expires_at_ms.",
        extra_json_schema={"format": "uint64"},
    ),
]
_GraceMs = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=TIME_MS_MAX,
        description="For so many milliseconds the former secret still works (default 0).",
        extra_json_schema={"format": "uint64"},
    ),
]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
_Limits = Annotated[
    dict[str, int | None],
    msgspec.Meta(
        description="Rates and quotas of its own: " + ", ".join(KeyLimits.__struct_fields__) + "."
    ),
]
_Role = Annotated[
    Literal["read", "write", "admin", "user"],
    msgspec.Meta(description="What the key may do at most; user (the default) is write."),
]


class ScopesBody(RequestBody, frozen=True):
    """What the key may touch: a name, or the beginning of names with * behind it. A kind that is
    left out allows nothing, but for routes: without them all are left that the others allow."""

    keys: list[str] | None = None
    vectors: list[str] | None = None
    documents: list[str] | None = None
    tables: list[str] | None = None
    events: list[str] | None = None
    routes: list[str] | None = None


class NewKeyBody(RequestBody, frozen=True):
    """A key to be issued. ``permissions`` is any object: it is kept, and means nothing here."""

    name: _Name
    role: _Role | None = None
    scopes: ScopesBody | None = None
    limits: _Limits | None = None
    permissions: dict[str, Any] | None = None
    ttl_ms: _LengthMs | None = None
    expires_at_ms: _TimeMs | None = None


class RotateBody(RequestBody, frozen=True):
    """Another secret for a key. Without ttl_ms and expires_at_ms it ends when it would have."""

    grace_ms: _GraceMs | None = None
    ttl_ms: _LengthMs | None = None
    expires_at_ms: _TimeMs | None = None


@attrs.frozen
class ApiKey:
    """A key as it is listed: without its secret, which nobody can tell again."""

    id: str
    name: str
    role: Literal["read", "write", "admin"]
    scopes: dict[str, list[str]] | None
    limits: dict[str, int] | None
    permissions: dict[str, Any]
    created_at_ms: int
    expires_at_ms: int | None
    rotated_at_ms: int | None
    former_until_ms: int | None
    last_used_ms: int | None


@attrs.frozen
class NewApiKey:
    """A key with its secret, ``key``: shown this once."""

    id: str
    key: str
    name: str
    role: Literal["read", "write", "admin"]
    scopes: dict[str, list[str]] | None
    limits: dict[str, int] | None
    expires_at_ms: int | None
    former_until_ms: int | None
    offset: int


@attrs.frozen
class Used:
    """What the scope of a key holds, whoever wrote it."""

    rows: int
    bytes: int


@attrs.frozen
class Me:
    """Who asks. ``scopes`` null: everything that the role allows. ``used``: of a key with a quota.
    ``protected``: the server wants a key."""

    name: str
    role: str
    id: str | None
    scopes: dict[str, list[str]] | None
    limits: dict[str, int] | None
    used: Used | None
    expires_at_ms: int | None
    protected: bool
    version: str
    started_at_ms: int
