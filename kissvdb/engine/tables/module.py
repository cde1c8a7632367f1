"""A virtual table as SQLite asks for one: what all of ours have in common.

SQLite asks for a plan (which of the constraints in WHERE we take, xBestIndex), then for rows, one
value at a time. Ours answer with an iterator of tuples. What a constraint is taken for it is also
tested by SQLite again, except where it is an argument of a table function: so we may hand out too
many rows, never too few.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar, Final

import apsw
import attrs

from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.errors import InvalidArgument

ROWS_BETWEEN_CHECKS: Final = 256
"""Where rows are passed over in Python, without SQLite: so many are some 0.5 ms."""

_OPERATORS: Final = {
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: "=",
    apsw.SQLITE_INDEX_CONSTRAINT_GT: ">",
    apsw.SQLITE_INDEX_CONSTRAINT_GE: ">=",
    apsw.SQLITE_INDEX_CONSTRAINT_LT: "<",
    apsw.SQLITE_INDEX_CONSTRAINT_LE: "<=",
    apsw.SQLITE_INDEX_CONSTRAINT_LIKE: " LIKE ",
    apsw.SQLITE_INDEX_CONSTRAINT_GLOB: " GLOB ",
}
_COMPARISONS: Final = frozenset(("=", ">", ">=", "<", "<="))
_LIMITS: Final = {
    apsw.SQLITE_INDEX_CONSTRAINT_LIMIT: "LIMIT",
    apsw.SQLITE_INDEX_CONSTRAINT_OFFSET: "OFFSET",
}

READINGS_KEPT: Final = 64
"""Of one table."""

Given = Mapping[str, Any]
"""What a plan takes, with the values of now: ``{"key>=": "a", "collection=": "notes"}``."""


@attrs.frozen
class Column:
    """A column. ``operators``: constraints on it that are taken. ``argument``: a hidden one, which
    is given between the parentheses; one that is ``required`` the table cannot be read without."""

    name: str
    type: str = ""
    operators: tuple[str, ...] = ()
    argument: bool = False
    required: bool = False


@attrs.frozen
class Order:
    """An ORDER BY of one column."""

    column: str
    descending: bool


@attrs.define
class Plan:
    """How a table is to be read. ``order``: that of the statement; ``ordered``: it is kept to.
    ``cost`` in units of about a row; ``rows``: how many there may be."""

    names: list[str]
    order: Order | None
    ordered: bool = False
    cost: float = 1_000_000.0
    rows: int = 1_000_000


class VirtualTable:
    """One kind of table, on one connection: apsw's VTModule and VTTable. Subclasses say which
    columns it has, what a plan costs, and which rows it finds."""

    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    key: ClassVar[str]
    """The column that, with the arguments, tells one row from all others."""
    usage: ClassVar[str]
    """How it is written, for who left a required argument out."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        """``snapshot``: of the statement that runs now."""
        self.snapshot = snapshot
        self._readings: dict[tuple[int, str], _Reading] = {}

    # What subclasses say

    def plan(self, plan: Plan) -> None:
        """Estimate it; keep to its order if that costs little."""

    def takes_limit(self, names: Collection[str]) -> bool:
        """Whether LIMIT and OFFSET are to be ``given``, besides what is taken. All others end where
        SQLite asks for no more rows."""
        return False

    def rows(
        self, snapshot: Snapshot, given: Given, used: frozenset[str], order: Order | None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows that pass what is given, and maybe others: values in the order of the columns, of
        those that are not ``used`` None. Hidden columns are not among them. ``order``: None for
        any order."""
        raise NotImplementedError

    # As apsw.VTModule and apsw.VTTable

    def Connect(self, connection: Any, *_: Any) -> tuple[str, "VirtualTable"]:  # noqa: N802
        # Not from a view or trigger in the user's file: whoever reads must mean it.
        connection.vtab_config(apsw.SQLITE_VTAB_DIRECTONLY)
        parts = [
            f"{_quoted(each.name)} {each.type}{' HIDDEN' if each.argument else ''}"
            for each in self.columns
        ]
        # By this key, and not by a rowid, SQLite knows a row that it finds twice (by an OR).
        key = [each.name for each in self.columns if each.argument or each.name == self.key]
        parts.append(f"PRIMARY KEY({', '.join(map(_quoted, key))})")
        # By this name the authorizer is asked.
        return f"CREATE TABLE {self.name}({', '.join(parts)}) WITHOUT ROWID", self

    def BestIndexObject(self, info: Any) -> bool:  # noqa: N802
        taken: dict[str, int] = {}
        limits: dict[str, int] = {}
        missing = {each.name for each in self.columns if each.required}
        for place in range(info.nConstraint):
            limit = _LIMITS.get(info.get_aConstraint_op(place))
            if limit is not None and info.get_aConstraint_usable(place):
                limits[limit] = place
            operator = _OPERATORS.get(info.get_aConstraint_op(place))
            if operator is None:
                continue
            column = self.columns[info.get_aConstraint_iColumn(place)]
            if operator == "=":
                missing.discard(column.name)
            if column.argument and operator == "=":
                if not info.get_aConstraint_usable(place):
                    # It comes from a table that is to be read first.
                    return False
            elif operator not in column.operators or not self._is_usable(info, place, operator):
                continue
            taken.setdefault(column.name + operator, place)
        if missing:
            raise InvalidArgument(
                f"{self.name}: {', '.join(sorted(missing))} missing: write {self.usage}"
            )
        if self.takes_limit(taken):
            # SQLite counts rows all the same, and offers none where others would be passed over.
            taken |= limits
        for number, (name, place) in enumerate(taken.items(), start=1):
            info.set_aConstraintUsage_argvIndex(place, number)
            info.set_aConstraintUsage_omit(place, self._argument(name))
        plan = Plan(list(taken), self._order(info))
        self.plan(plan)
        kept_to = plan.ordered and plan.order is not None
        info.orderByConsumed = kept_to
        info.estimatedCost, info.estimatedRows = plan.cost, plan.rows
        info.idxNum = sum(1 << column for column in info.colUsed if column < len(self.columns))
        info.idxStr = " AND ".join(plan.names)
        if kept_to and plan.order is not None:
            direction = " DESC" if plan.order.descending else ""
            info.idxStr += f" ORDER BY {plan.order.column}{direction}"
        return True

    def Open(self) -> "_Cursor":  # noqa: N802
        return _Cursor(self)

    def Disconnect(self) -> None:  # noqa: N802
        """The connection closes."""

    Destroy = Disconnect

    def _is_usable(self, info: Any, place: int, operator: str) -> bool:
        if not info.get_aConstraint_usable(place):
            return False
        return operator not in _COMPARISONS or info.get_aConstraint_collation(place) == "BINARY"

    def _argument(self, name: str) -> bool:
        return any(each.argument and name == f"{each.name}=" for each in self.columns)

    def _order(self, info: Any) -> Order | None:
        if info.nOrderBy != 1 or info.get_aOrderBy_iColumn(0) < 0:
            return None
        column = self.columns[info.get_aOrderBy_iColumn(0)]
        return Order(column.name, bool(info.get_aOrderBy_desc(0)))

    def reading(self, numbers: int, names: str) -> "_Reading":
        """What the plan of these ``idxNum`` and ``idxStr`` says."""
        found = self._readings.get((numbers, names))
        if found is not None:
            return found
        conditions, _, ordering = names.partition(" ORDER BY ")
        column, _, direction = ordering.partition(" ")
        found = _Reading(
            tuple(conditions.split(" AND ")) if conditions else (),
            frozenset(each.name for place, each in enumerate(self.columns) if numbers >> place & 1),
            Order(column, bool(direction)) if column else None,
        )
        if len(self._readings) >= READINGS_KEPT:
            self._readings.clear()
        self._readings[numbers, names] = found
        return found


@attrs.frozen
class _Reading:
    """A plan as it is carried out."""

    names: tuple[str, ...]
    used: frozenset[str]
    order: Order | None


class _Cursor:
    """As apsw.VTCursor: a place in the rows of a table."""

    def __init__(self, table: VirtualTable) -> None:
        self._table = table
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._row: tuple[Any, ...] | None = None
        self._hidden: dict[int, Any] = {}

    def Filter(self, numbers: int, names: str, values: tuple[Any, ...]) -> None:  # noqa: N802
        table = self._table
        snapshot = table.snapshot()
        snapshot.check()
        reading = table.reading(numbers, names)
        given = dict(zip(reading.names, values, strict=True))
        self._hidden = {
            place: given.get(f"{each.name}=")
            for place, each in enumerate(table.columns)
            if each.argument
        }
        self.Close()
        self._rows = table.rows(snapshot, given, reading.used, reading.order)
        self._row = next(self._rows, None)

    def Eof(self) -> bool:  # noqa: N802
        return self._row is None

    def Next(self) -> None:  # noqa: N802
        self._row = next(self._rows, None)

    def Column(self, place: int) -> Any:  # noqa: N802
        row = self._row
        assert row is not None
        return row[place] if place < len(row) else self._hidden.get(place)

    def Close(self) -> None:  # noqa: N802
        """Ends what is open: a statement in another file."""
        close = getattr(self._rows, "close", None)
        self._rows = iter(())
        if close is not None:
            close()


def _quoted(name: str) -> str:
    return f'"{name}"'
