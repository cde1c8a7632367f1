"""What tools answer, as types, and the JSON Schema of those and of what tools are given."""

from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class Memory(msgspec.Struct, frozen=True):
    """A memory. ``doc`` in place of ``text``: a document of the collection that is none."""

    id: str
    text: str | UnsetType = UNSET
    meta: Any = UNSET
    remembered_at: str | UnsetType = UNSET
    supersedes: str | UnsetType = UNSET
    superseded_by: str | UnsetType = UNSET
    doc: Any = UNSET
    score: float | UnsetType = UNSET
    revision: int | UnsetType = UNSET
    offset: int | UnsetType = UNSET
    expires_at_ms: int | UnsetType | None = UNSET


class Remembered(msgspec.Struct, frozen=True):
    """What was remembered, and by what it is recalled from now on."""

    id: str
    collection: str
    recalled_by: Literal["words", "words and meaning"]
    revision: int
    offset: int


class Recalled(msgspec.Struct, frozen=True):
    """The best first."""

    memories: list[Memory]
    recalled_by: Literal["words", "words and meaning"]


class MemoriesAsOf(msgspec.Struct, frozen=True):
    """Memories as they were at ``offset``; there are more where ``cursor`` is not null."""

    memories: list[Memory]
    offset: int
    cursor: str | None


class Change(msgspec.Struct, frozen=True):
    """What happened to a memory. ``reason`` of one that is gone: ``ttl`` when its time was over."""

    offset: int
    at: str
    id: str
    change: Literal["remembered", "superseded", "forgotten"]
    reason: str | UnsetType = UNSET
    memory: Memory | UnsetType = UNSET


class Lost(msgspec.Struct, frozen=True):
    """Changes that are not told. ``reason``: ``trimmed``, the log does not have them any more;
    ``ahead`` or ``epoch``, the offset that was asked with is of another history."""

    from_offset: int
    to_offset: int
    reason: str


class Changes(msgspec.Struct, frozen=True):
    """In order. Ask again with ``offset`` for what comes after them; ``more``: there is something
    by now."""

    changes: list[Change]
    offset: int
    more: bool
    lost: Lost | UnsetType = UNSET


class Forgotten(msgspec.Struct, frozen=True):
    """``forgotten`` is false when there was no such memory."""

    forgotten: bool
    id: str
    offset: int | None


class Hits(msgspec.Struct, frozen=True):
    """The best first: of documents each has a ``doc``, of vectors ``text`` and ``meta``."""

    hits: list[dict[str, Any]]


class CollectionOf(msgspec.Struct, frozen=True):
    """A collection of documents or of vectors."""

    collection: str
    count: int
    dim: int | UnsetType = UNSET


class Table(msgspec.Struct, frozen=True):
    """A table of SQL, and the names of its columns."""

    name: str
    columns: list[str]


class Everything(msgspec.Struct, frozen=True):
    """All that the key may see."""

    documents: list[CollectionOf]
    vectors: list[CollectionOf]
    tables: list[Table]


@cache
def schema_of(type_: Any) -> dict[str, Any]:
    """The schema of a struct or an attrs class, with that at the root: MCP wants an object there.
    Not to be changed: it is kept."""
    made = msgspec.json.schema(type_)
    definitions: dict[str, Any] = dict(made.pop("$defs"))
    root: dict[str, Any] = dict(definitions.pop(made["$ref"].rpartition("/")[2]))
    _drop_formats([root, *definitions.values()])
    # A name of ours, and what is said of it, is no help to who fills it in.
    root.pop("title", None)
    root.pop("description", None)
    for each in definitions.values():
        each.pop("title", None)
    return {**root, "$defs": definitions} if definitions else root


def _drop_formats(schemas: list[Any]) -> None:
    """Validators of JSON Schema know none that are of OpenAPI (uint64), and say so each time."""
    for schema in schemas:
        if isinstance(schema, dict):
            if isinstance(schema.get("format"), str):
                del schema["format"]
            _drop_formats(list(schema.values()))
        elif isinstance(schema, list):
            _drop_formats(schema)
