"""The JSON of SQL that goes in and out, as types."""

from typing import Annotated, Any, Literal

import attrs
import msgspec

from kissvdb.api.bodies import U64, RequestBody

Params = Annotated[
    Any,
    msgspec.Meta(
        description="Values by position (an array) or by name, without the : (an object); each is "
        "null, a boolean (1 or 0), a number or a text. A blob is bound as a text and CAST, or "
        "written x'00ff'.",
        extra_json_schema={"type": ["array", "object", "null"]},
    ),
]


class QueryBody(RequestBody, frozen=True):
    """One statement that reads: SELECT, VALUES, or WITH before one. ``explain``: how SQLite would
    do it, in place of its rows. ``timeout_ms``: less than the server's limit."""

    sql: str
    params: Params = None
    rows_max: U64 | None = None
    timeout_ms: U64 | None = None
    format: Literal["json", "ndjson"] | None = None
    explain: bool | None = None


class ExecBody(RequestBody, frozen=True):
    """One statement that writes, or changes the schema. ``op_id``: a repeat is answered, and not
    done again."""

    sql: str
    params: Params = None
    op_id: str | None = None


class StatementBody(RequestBody, frozen=True):
    """One of several."""

    sql: str
    params: Params = None


class SqlBatchBody(RequestBody, frozen=True):
    """Statements that write, in order, all or none: one transaction."""

    statements: list[StatementBody]
    op_id: str | None = None


@attrs.frozen
class QueryResult:
    """``columns``: their names in order, each once. ``offset``: what all rows are true at.
    ``truncated``: there are more rows than one answer may have; NDJSON has them all."""

    rows: list[dict[str, Any]]
    columns: list[str]
    offset: U64
    truncated: bool


@attrs.frozen
class ExecResult:
    """``rows_affected``: by the statement itself; 0 where it changes the schema. ``changes``: rows
    that are others than before, those that triggers changed, too. ``offset``: of the last record,
    null when nothing changed. ``repeated``: it was done before, under this op_id."""

    rows_affected: U64
    offset: U64 | None
    changes: U64
    repeated: bool


@attrs.frozen
class SqlBatchResult:
    """As of one statement; ``rows_affected`` has a number for each. The records have the offsets
    ``first_offset`` to ``offset``."""

    rows_affected: list[U64]
    first_offset: U64 | None
    offset: U64 | None
    changes: U64
    repeated: bool


@attrs.frozen
class ColumnInfo:
    """``type``: as it is declared, empty for none. ``primary_key``: its place in the primary key,
    from 1; 0 for no part of it. ``generated``: it is computed of others."""

    name: str
    type: str
    not_null: bool
    default: str | None
    primary_key: U64
    generated: bool


@attrs.frozen
class IndexInfo:
    """``columns``: null in place of an expression. ``partial``: it has a WHERE."""

    name: str
    unique: bool
    partial: bool
    columns: list[str | None]


@attrs.frozen
class ForeignKeyInfo:
    """One column that refers to another."""

    column: str
    table: str
    to: str | None


@attrs.frozen
class TableInfo:
    """A table, a view or a virtual table. ``sql``: how it was made; null for a key with scopes."""

    name: str
    kind: Literal["table", "view", "virtual"]
    columns: list[ColumnInfo]
    indexes: list[IndexInfo]
    foreign_keys: list[ForeignKeyInfo]
    strict: bool
    without_rowid: bool
    sql: str | None


@attrs.frozen
class SqlSchema:
    """Every table that the key may see, by name, true at ``offset``."""

    tables: list[TableInfo]
    offset: U64
