"""Filters as clients write them, parsed to one tree.

Two forms, free to mix at the top level: the operator form
``{"section": "python", "size": {"$gte": 10, "$lt": 20}}`` and Qdrant's nested form
``{"must": [{"key": "section", "match": {"value": "python"}}]}``. A filter that cannot be read
raises InvalidArgument with the path of the wrong part.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any

from kissvdb.core.filters.tree import (
    MISSING,
    And,
    Bound,
    Contains,
    Exists,
    In,
    Leaf,
    Node,
    Not,
    Or,
    Prefix,
    Range,
    asks_nothing,
    equal,
    lookup,
    matches,
    size,
)
from kissvdb.errors import InvalidArgument

__all__ = [
    "DEPTH_MAX",
    "MISSING",
    "NODES_MAX",
    "OPERAND_DEPTH_MAX",
    "VALUES_MAX",
    "And",
    "Contains",
    "Exists",
    "In",
    "Leaf",
    "Node",
    "Not",
    "Or",
    "Prefix",
    "Range",
    "asks_nothing",
    "equal",
    "lookup",
    "matches",
    "parse",
    "size",
]

DEPTH_MAX = 16
"""Levels of ``$and``, ``$or``, ``$not``, ``must``, ``should``, ``must_not`` in one another."""
NODES_MAX = 1024
"""Conditions and combinations in one filter."""
VALUES_MAX = 4096
"""Values in one ``$in``, ``$nin``, ``any`` or ``except``."""
OPERAND_DEPTH_MAX = 32
"""Levels of arrays and objects inside a value to compare with."""
OPERATOR_LENGTH_MAX = 32
"""Of an unknown operator this much is compared with the known ones."""

_BOUNDS = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_OTHERS = ("$eq", "$ne", "$in", "$nin", "$exists", "$contains", "$prefix", "$not")
_COMBINATIONS = ("$and", "$or", "$not")
_WITHOUT_DOLLAR = frozenset(each.removeprefix("$") for each in (*_BOUNDS, *_OTHERS))
_NESTED = ("must", "should", "must_not")


def parse(filters: Any, *, name: str = "filters") -> Node | None:
    """The tree of a filter; None for ``None`` and ``{}``, which let everything through.

    ``name`` is what error messages call the whole filter. Raises InvalidArgument.
    """
    if filters is None or filters == {}:
        return None
    return _Parser().filter(filters, name, 1)


class _Parser:
    """One run over one filter; counts its nodes so that a small body cannot make much work."""

    def __init__(self) -> None:
        self._nodes = 0

    def filter(self, filters: Any, at: str, depth: int) -> Node:
        """An object: all of its members must hold."""
        if not isinstance(filters, dict):
            raise InvalidArgument(f"{at}: expected an object, got {_name_of(filters)}")
        if depth > DEPTH_MAX:
            raise InvalidArgument(f"{at}: nested deeper than {DEPTH_MAX} levels")
        parts: list[Node] = []
        if not filters:
            self._count(at)
        for key, value in filters.items():
            where = f"{at}.{key}"
            self._count(where)
            if key in _COMBINATIONS:
                parts.append(self._combination(key, value, where, depth))
            elif key in _NESTED and (isinstance(value, list) or _is_plain(value)):
                parts.append(self._nested(key, value, where, depth))
            elif _is_bare_combination(key, value):
                raise _without_dollar(key, where)
            elif key.startswith("$"):
                raise InvalidArgument(
                    f"{where}: unknown operator; here only {', '.join(_COMBINATIONS)}, "
                    "or a field name"
                )
            else:
                parts.append(self._field(key, value, where, depth))
        return _all_of(parts)

    def _count(self, at: str) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise InvalidArgument(f"{at}: the filter has more than {NODES_MAX} conditions")

    def _combination(self, key: str, value: Any, at: str, depth: int) -> Node:
        if key == "$not":
            return Not(self.filter(value, at, depth + 1))
        if not isinstance(value, list) or not value:
            raise InvalidArgument(f"{at}: expected a list of at least one filter")
        parts = tuple(
            self.filter(item, f"{at}[{place}]", depth + 1) for place, item in enumerate(value)
        )
        return And(parts) if key == "$and" else Or(parts)

    def _nested(self, key: str, value: Any, at: str, depth: int) -> Node:
        conditions = value if isinstance(value, list) else [value]
        parts = tuple(
            self._condition(condition, f"{at}[{place}]", depth + 1)
            for place, condition in enumerate(conditions)
        )
        if key == "must":
            return And(parts)
        if key == "must_not":
            return And(tuple(Not(part) for part in parts))
        # As in Qdrant, an empty "should" asks for nothing.
        return Or(parts) if parts else And(())

    def _condition(self, condition: Any, at: str, depth: int) -> Node:
        """One member of a must, should or must_not list."""
        self._count(at)
        if isinstance(condition, dict):
            if "key" in condition:
                return self._keyed(condition, at)
            if condition and all(key in _NESTED for key in condition):
                return self.filter(condition, at, depth)
        raise InvalidArgument(
            f"{at}: expected an object with 'key' and 'match' or 'range', "
            "or one of must, should, must_not"
        )

    def _keyed(self, condition: dict[str, Any], at: str) -> Node:
        path = condition["key"]
        if not isinstance(path, str):
            raise InvalidArgument(f"{at}.key: expected a string, got {_name_of(path)}")
        unknown = sorted(condition.keys() - {"key", "match", "range"})
        if unknown or len(condition) == 1:
            wrong = f"{at}.{unknown[0]}: unknown condition" if unknown else at
            raise InvalidArgument(f"{wrong}: expected 'match' or 'range' beside 'key'")
        parts: list[Node] = []
        if "match" in condition:
            parts.append(_match(path, condition["match"], f"{at}.match"))
        if "range" in condition:
            parts.append(_nested_range(path, condition["range"], f"{at}.range"))
        return _all_of(parts)

    def _field(self, path: str, value: Any, at: str, depth: int) -> Node:
        """``field: value``: an object whose keys begin with ``$`` holds operators."""
        if not isinstance(value, dict) or _is_plain(value):
            if isinstance(value, dict) and value and value.keys() <= _WITHOUT_DOLLAR:
                name = next(iter(value))
                raise _without_dollar(name, f"{at}.{name}")
            return In(path, (_operand(value, at),))
        if depth > DEPTH_MAX:
            raise InvalidArgument(f"{at}: nested deeper than {DEPTH_MAX} levels")
        parts: list[Node] = []
        bounds: dict[str, tuple[Any, str]] = {}
        for key, operand in value.items():
            where = f"{at}.{key}"
            self._count(where)
            if key in _BOUNDS:
                bounds[_BOUNDS[key]] = (operand, where)
            elif key == "$not":
                if not isinstance(operand, dict):
                    raise InvalidArgument(f"{where}: expected an object of operators")
                parts.append(Not(self._field(path, operand, where, depth + 1)))
            elif key in _OPERATORS:
                parts.append(_OPERATORS[key](path, operand, where))
            else:
                raise _unknown_operator(key, where)
        if bounds:
            parts.append(_range(path, bounds))
        return _all_of(parts)


def _is_plain(value: Any) -> bool:
    """Whether this is an object without operators."""
    return isinstance(value, dict) and not any(key.startswith("$") for key in value)


def _is_bare_combination(key: str, value: Any) -> bool:
    """Whether this is ``$and``, ``$or`` or ``$not`` without its ``$`` rather than a field."""
    if key == "not":
        return bool(value) and _is_plain(value)
    is_list = key in ("and", "or") and isinstance(value, list) and bool(value)
    return is_list and all(isinstance(each, dict) for each in value)


def _without_dollar(name: str, at: str) -> InvalidArgument:
    return InvalidArgument(
        f"{at}: an operator begins with $: write ${name}. If it is a value that you want to be "
        'equalled, write {"$eq": ...} around it'
    )


def _unknown_operator(name: str, at: str) -> InvalidArgument:
    if name in _WITHOUT_DOLLAR:
        return _without_dollar(name, at)
    known = (*_OTHERS, *_BOUNDS)
    close = difflib.get_close_matches(name[:OPERATOR_LENGTH_MAX], known, n=1)
    hint = f", did you mean {close[0]}?" if close else "."
    return InvalidArgument(f"{at}: unknown operator{hint} Known are {', '.join(known)}")


def _all_of(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _any_of(path: str, values: tuple[Any, ...]) -> Node:
    """Qdrant's match: the value itself or, where the field is an array, one of its elements."""
    return Or((In(path, values), Contains(path, values)))


def _match(path: str, match: Any, at: str) -> Node:
    if isinstance(match, dict) and len(match) == 1:
        if "value" in match:
            return _any_of(path, (_operand(match["value"], f"{at}.value"),))
        if "any" in match:
            return _any_of(path, _operands(match["any"], f"{at}.any"))
        if "except" in match:
            return Not(_any_of(path, _operands(match["except"], f"{at}.except")))
    raise InvalidArgument(f"{at}: expected an object with one of 'value', 'any', 'except'")


def _nested_range(path: str, limits: Any, at: str) -> Range:
    if not isinstance(limits, dict) or not limits.keys() <= {"gt", "gte", "lt", "lte"}:
        raise InvalidArgument(f"{at}: expected an object with gt, gte, lt or lte")
    # Clients of Qdrant send the bounds they do not use as null.
    bounds = {side: (bound, f"{at}.{side}") for side, bound in limits.items() if bound is not None}
    if not bounds:
        raise InvalidArgument(f"{at}: expected at least one of gt, gte, lt, lte")
    return _range(path, bounds)


def _range(path: str, bounds: dict[str, tuple[Any, str]]) -> Range:
    for bound, at in bounds.values():
        if isinstance(bound, bool) or not isinstance(bound, (int, float, str)):
            raise InvalidArgument(f"{at}: expected a number or string, got {_name_of(bound)}")
        _operand(bound, at)
    values: Iterable[Bound] = [bound for bound, _ in bounds.values()]
    if len({isinstance(value, str) for value in values}) > 1:
        where = bounds[next(reversed(bounds))][1]
        raise InvalidArgument(f"{where}: the bounds of one range must be of one type")
    return Range(path, **{side: bound for side, (bound, _) in bounds.items()})


def _exists(path: str, operand: Any, at: str) -> Node:
    if not isinstance(operand, bool):
        raise InvalidArgument(f"{at}: expected true or false, got {_name_of(operand)}")
    return Exists(path) if operand else Not(Exists(path))


def _prefix(path: str, operand: Any, at: str) -> Node:
    if not isinstance(operand, str):
        raise InvalidArgument(f"{at}: expected a string, got {_name_of(operand)}")
    return Prefix(path, operand)


_OPERATORS: dict[str, Callable[[str, Any, str], Node]] = {
    "$eq": lambda path, operand, at: In(path, (_operand(operand, at),)),
    "$ne": lambda path, operand, at: Not(In(path, (_operand(operand, at),))),
    "$in": lambda path, operand, at: In(path, _operands(operand, at)),
    "$nin": lambda path, operand, at: Not(In(path, _operands(operand, at))),
    "$contains": lambda path, operand, at: Contains(path, (_operand(operand, at),)),
    "$exists": _exists,
    "$prefix": _prefix,
}


def _operands(values: Any, at: str) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise InvalidArgument(f"{at}: expected a list of values, got {_name_of(values)}")
    if len(values) > VALUES_MAX:
        raise InvalidArgument(f"{at}: more than {VALUES_MAX} values")
    return tuple(_operand(value, f"{at}[{place}]") for place, value in enumerate(values))


def _operand(value: Any, at: str, depth: int = 0) -> Any:
    """The value itself, once it is known to be JSON of bounded depth."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if not isinstance(value, (list, dict)):
        raise InvalidArgument(f"{at}: expected a JSON value, got {_name_of(value)}")
    if depth == OPERAND_DEPTH_MAX:
        raise InvalidArgument(f"{at}: a value nested deeper than {OPERAND_DEPTH_MAX} levels")
    for member in value.values() if isinstance(value, dict) else value:
        _operand(member, at, depth + 1)
    return value


_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def _name_of(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    return _NAMES.get(type(value), type(value).__name__)
