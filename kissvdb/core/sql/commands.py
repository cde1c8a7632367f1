"""What may be asked of the owner of the SQL database, and what it answers."""

from typing import Any

import msgspec

from kissvdb.core.sql.grants import TableGrants
from kissvdb.records import Operation

Params = tuple[Any, ...] | dict[str, Any]


class Statement(msgspec.Struct, frozen=True):
    """One SQL statement. ``params``: by position, or by name without the leading ``:``, ``@`` or
    ``$``."""

    sql: str
    params: Params = ()


class SqlCommand(msgspec.Struct, frozen=True):
    """Execute statements in order, all or none. ``grants`` None: everything is allowed. They are no
    part of what is asked: a repeat is one whoever sends it."""

    statements: tuple[Statement, ...]
    op_id: str | None = None
    grants: TableGrants | None = None


class SqlExecutedAnswer(msgspec.Struct, frozen=True):
    """What a command did. ``rows_affected``: of each statement, without what triggers and foreign
    keys did; 0 for one that changes the schema. ``changes``: rows that are others than before, of
    all tables. Its records have the offsets ``first_offset`` to ``offset``; both are None when
    there was nothing to log."""

    rows_affected: tuple[int, ...]
    offset: int | None
    first_offset: int | None
    changes: int
    repeated: bool = False
    """It was done before, under the same op_id."""


class SqlDecision(msgspec.Struct, frozen=True):
    """A command that was executed. ``position``: where its records begin among the batch's."""

    rows_affected: tuple[int, ...]
    changes: int
    records: int
    position: int
    former: int | None = None
    """Of a repeat: the offset of its first record."""
    repeated: bool = False

    @classmethod
    def of_operation(cls, operation: Operation) -> "SqlDecision":
        """The decision to answer a former command again."""
        rows, changes = msgspec.json.decode(operation.key, type=tuple[tuple[int, ...], int])
        return cls(rows, changes, operation.revision, 0, operation.offset, True)

    def encoded(self) -> str:
        """What is remembered of it in the log, beside its offset and number of records."""
        return msgspec.json.encode((self.rows_affected, self.changes)).decode()

    def again(self) -> "SqlDecision":
        """See `batch.Repeatable`."""
        return msgspec.structs.replace(self, repeated=True)

    def at(self, first_offset: int) -> SqlExecutedAnswer:
        """The answer, once the batch's first record has got ``first_offset``."""
        rows, changes, repeated = self.rows_affected, self.changes, self.repeated
        if not self.records:
            return SqlExecutedAnswer(rows, None, None, changes, repeated)
        start = first_offset + self.position if self.former is None else self.former
        return SqlExecutedAnswer(rows, start + self.records - 1, start, changes, repeated)
