"""Which commands a key with grants may give: the one answer for every body that holds commands.

Handlers ask for each command they have read, before anything is looked for: what is refused is
refused alike whether or not it is there.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from kissvdb.api.access.reach import check_name, outside
from kissvdb.api.frame.reach import Names
from kissvdb.core.events.publishing import Publish
from kissvdb.core.grants import Grants
from kissvdb.core.op_ids import owned
from kissvdb.core.sql.commands import SqlCommand
from kissvdb.core.sql.grants import TableGrants
from kissvdb.core.state.rules import Configure, Delete, Patch, Put, Require
from kissvdb.engine.batches import Count
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import Forbidden, KissError
from kissvdb.records import EventPublished

T = TypeVar("T")


def check_command(grants: Grants | None, command: Any) -> Any:
    """The command, as it is done under these grants. Raises Forbidden."""
    return command if grants is None else _CHECKS[type(command)](grants, command)


def check_commands(grants: Grants | None, commands: Iterable[Any]) -> list[Any]:
    """Each as `check_command`; the place of what is refused is in the refusal."""
    checked: list[Any] = []
    for command in commands:
        try:
            checked.append(check_command(grants, command))
        except Forbidden as refusal:
            refusal.place = len(checked)
            raise
    return checked


def check_each(grants: Grants | None, outcomes: Sequence[T]) -> list[T | Forbidden]:
    """Commands for themselves: in the place of one that is not granted stands its refusal.
    ``outcomes``: commands, and what others were refused with already."""
    if grants is None:
        return list(outcomes)
    checked: list[T | Forbidden] = []
    for outcome in outcomes:
        try:
            is_refused = isinstance(outcome, KissError)
            checked.append(outcome if is_refused else check_command(grants, outcome))
        except Forbidden as refusal:
            checked.append(refusal)
    return checked


def _of_key(grants: Grants, command: Any) -> Any:
    check_name(grants, Names.KEY, command.key)
    return _with_owned_op_id(grants, command)


def _of_event(grants: Grants, command: Any) -> Any:
    if not grants.may_event(command.type, command.key):
        of = "" if command.key is None else f" of key {command.key[:200]!r}"
        raise outside(f"event {command.type!r}{of}")
    return _with_owned_op_id(grants, command)


def _of_vectors(grants: Grants, command: VectorCommand) -> VectorCommand:
    # Its op_id is remembered with the collection, among those of all who may write there.
    check_name(grants, Names.VECTORS, command.collection)
    return command


def _of_count(grants: Grants, count: Count) -> Count:
    names = Names.DOCUMENTS if count.of_documents else Names.VECTORS
    check_name(grants, names, count.collection)
    return count


def _of_tables(grants: Grants, command: SqlCommand) -> SqlCommand:
    """What tables it touches is known where it is prepared, and refused there."""
    tables = TableGrants(grants.tables, grants.tables)
    op_id = owned(command.op_id, grants)
    return msgspec.structs.replace(command, grants=tables, op_id=op_id)


def _with_owned_op_id(grants: Grants, command: Any) -> Any:
    if command.op_id is None:
        return command
    return msgspec.structs.replace(command, op_id=owned(command.op_id, grants))


_CHECKS: dict[type, Callable[[Grants, Any], Any]] = {
    **dict.fromkeys((Put, Patch, Delete, Require, Configure), _of_key),
    **dict.fromkeys((Publish, EventPublished), _of_event),
    VectorCommand: _of_vectors,
    SqlCommand: _of_tables,
    Count: _of_count,
}
"""By type. One that is missing here is a bug that refuses all of its kind."""
