"""The text of a statement, its parameters, and what SQLite says of them, in our words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from kissvdb.errors import (
    Damaged,
    InvalidArgument,
    KissError,
    Overloaded,
    PersistenceFailed,
    SqliteError,
)

Params = Sequence[Any] | Mapping[str, Any]

# Atomic and possessive: else there are 2**n ways to take n comments apart.
_SPACE = r"(?>\s|--[^\n]*+|/\*.*?(?:\*/|\Z))"
_QUERY = re.compile(rf"\A{_SPACE}*+(?:select|with|values)\b", re.DOTALL | re.IGNORECASE)
_NOTHING = re.compile(rf"\A(?:;|{_SPACE})*+\Z", re.DOTALL)

_TRY_LATER = (apsw.BusyError, apsw.LockedError)
_DISK = (apsw.IOError, apsw.FullError, apsw.CantOpenError)
_DAMAGE = (apsw.CorruptError, apsw.NotADBError)


TEXT_CHARACTERS_MAX = 100_000
"""Of a statement that reads."""


def check_length(sql: str) -> None:
    """Raises SqliteError for a text that SQLite would not take: before anybody looks at it."""
    if len(sql) > TEXT_CHARACTERS_MAX:
        raise SqliteError(
            f"sql: {len(sql)} characters, a query may have {TEXT_CHARACTERS_MAX}: bind values as "
            "params, a list as JSON text for json_each"
        )


def check_query(sql: str) -> None:
    """Raises InvalidArgument unless the text begins as what reads does. That it only reads is seen
    to by the authorizer: this is for who took the wrong route."""
    if not _QUERY.match(sql):
        raise InvalidArgument(
            "sql: a query begins with SELECT, WITH or VALUES; what writes goes to /v1/sql/exec"
        )


def plan_of(sql: str) -> str:
    """The statement that answers how SQLite would do this one."""
    return f"EXPLAIN QUERY PLAN {sql}"


def is_nothing(text: str) -> bool:
    """Whether a text has no statement: spaces, comments and semicolons only."""
    return _NOTHING.match(text) is not None


def check_alone(sql: str, first: str) -> None:
    """Raises InvalidArgument when more than one statement is in ``sql``, of which SQLite reads
    ``first``."""
    if len(first) < len(sql) and not is_nothing(sql[len(first) :]):
        raise InvalidArgument(
            "sql: more than one statement: send one, or several as the list of /v1/sql/batch"
        )


def check_bindings(cursor: apsw.Cursor, params: Params) -> None:
    """Raises SqliteError when a named parameter is not in the statement: it would be dropped."""
    if isinstance(params, Mapping):
        unused = set(params) - set(cursor.bindings_names)
        if unused:
            raise SqliteError(
                f"params: the statement has no parameter :{min(unused)[:64]}; remove it, or is it "
                "misspelt?"
            )


@contextmanager
def translated() -> Iterator[None]:
    """Raises in our words what SQLite refuses. What stops a statement (InterruptError) stays."""
    try:
        yield
    except (KissError, apsw.InterruptError):
        raise
    except apsw.Error as error:
        raise _refusal(error) from error
    except KeyError as error:
        raise SqliteError(
            f"params: no value for the parameter {error.args[0]!r} of the statement"
        ) from error
    except OverflowError as error:
        raise SqliteError("params: an integer has at most 64 bits with its sign") from error
    except UnicodeDecodeError as error:
        raise SqliteError("a text is not UTF-8: CAST it to BLOB to read it") from error
    except ValueError as error:
        raise SqliteError(f"sql: {error}") from error


def _refusal(error: apsw.Error) -> KissError:
    text = str(error)
    if isinstance(error, apsw.BindingsError):
        return SqliteError(f"params: {text.partition('  Current offset')[0]}")
    if isinstance(error, apsw.TooBigError):
        return SqliteError(
            f"{text}: a value or a row may have 1 MiB, less in a statement with many columns, "
            "functions or much text"
        )
    if isinstance(error, apsw.NoMemError):
        return SqliteError(f"{text}: the statement is too large, use fewer terms")
    if isinstance(error, _TRY_LATER):
        return Overloaded(f"the SQL database is busy ({text}): retry")
    if isinstance(error, _DISK):
        return PersistenceFailed(f"SQLite could not read ({text}): mend the disk or the limits")
    if isinstance(error, _DAMAGE):
        return Damaged(f"the SQL database is damaged ({text}): restore a backup")
    if isinstance(error, apsw.ReadOnlyError):
        return InvalidArgument("sql: a query only reads; what writes goes to /v1/sql/exec")
    # The text names what the client wrote: nothing for a log.
    return SqliteError(text, logged=type(error).__name__)
