"""The filter tree and its meaning: what a filter says about one document.

``matches`` is the reference; every index must agree with it exactly. A document is decoded JSON.
What is not an object has no fields. Types are strict: ``1`` is not ``true`` and not ``"1"``; but
JSON has one kind of number, so ``1`` equals ``1.0``. Missing is not null: only ``Exists`` and the
negations are true of a field that is not there.
"""

from typing import Any, Final

import attrs


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What ``lookup`` finds where there is no such field; null is None."""


def lookup(document: Any, path: str) -> Any:
    """The value at a dotted path, or MISSING.

    At each object the rest of the path is first a literal key; only where there is none does
    its first dot lead into the object below. Arrays are never entered.
    """
    value, rest = document, path
    while type(value) is dict:
        if rest in value:
            return value[rest]
        head, dot, rest = rest.partition(".")
        if not dot or head not in value:
            return MISSING
        value = value[head]
    return MISSING


def equal(one: Any, other: Any) -> bool:
    """Deep equality of JSON values: numbers by value, everything else by type and value."""
    kind = type(one)
    if kind is bool or type(other) is bool:
        return one is other
    if kind is int or kind is float:
        return isinstance(other, (int, float)) and one == other
    if kind is not type(other):
        return False
    if kind is list:
        return len(one) == len(other) and all(map(equal, one, other))
    if kind is dict:
        return len(one) == len(other) and all(
            key in other and equal(value, other[key]) for key, value in one.items()
        )
    return bool(one == other)


_SCALARS = (str, int, float, type(None))


@attrs.frozen
class AnyOf:
    """Values to compare with: ``value in AnyOf(values)`` is true if any of them equals it.

    ``scalars`` makes a long list cost one hash lookup. Booleans stay out of it: Python's ``True``
    and ``1`` are the same key.
    """

    values: tuple[Any, ...]
    scalars: frozenset[Any] = attrs.field(init=False, repr=False, eq=False)
    others: tuple[Any, ...] = attrs.field(init=False, repr=False, eq=False)

    @scalars.default
    def _scalars(self) -> frozenset[Any]:
        return frozenset(value for value in self.values if type(value) in _SCALARS)

    @others.default
    def _others(self) -> tuple[Any, ...]:
        return tuple(value for value in self.values if type(value) not in _SCALARS)

    def __contains__(self, found: Any) -> bool:
        if type(found) in _SCALARS:
            return found in self.scalars
        return any(equal(value, found) for value in self.others)


@attrs.frozen
class In:
    """The field equals one of ``values``; an array or object is compared whole."""

    path: str
    values: AnyOf = attrs.field(converter=AnyOf)

    def matches(self, document: Any) -> bool:
        return lookup(document, self.path) in self.values


@attrs.frozen
class Contains:
    """The field is an array and one of ``values`` equals one of its elements."""

    path: str
    values: AnyOf = attrs.field(converter=AnyOf)

    def matches(self, document: Any) -> bool:
        found = lookup(document, self.path)
        return type(found) is list and any(element in self.values for element in found)


_TEXT = (str,)
_NUMBERS = (int, float)
Bound = int | float | str


@attrs.frozen
class Range:
    """The field lies within the bounds that are not None.

    The bounds are all numbers or all strings; a field of another type is outside. Strings
    compare by code point, so ISO 8601 times of one form compare by time.
    """

    path: str
    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None
    of_strings: bool = attrs.field(init=False, repr=False, eq=False)

    @of_strings.default
    def _of_strings(self) -> bool:
        return any(isinstance(bound, str) for bound in (self.gt, self.gte, self.lt, self.lte))

    def matches(self, document: Any) -> bool:
        found = lookup(document, self.path)
        if type(found) not in (_TEXT if self.of_strings else _NUMBERS):
            return False
        return (
            (self.gt is None or found > self.gt)
            and (self.gte is None or found >= self.gte)
            and (self.lt is None or found < self.lt)
            and (self.lte is None or found <= self.lte)
        )


@attrs.frozen
class Prefix:
    """The field is a string that starts with ``prefix``."""

    path: str
    prefix: str

    def matches(self, document: Any) -> bool:
        found = lookup(document, self.path)
        return type(found) is str and found.startswith(self.prefix)


@attrs.frozen
class Exists:
    """The field is there; null counts."""

    path: str

    def matches(self, document: Any) -> bool:
        return lookup(document, self.path) is not MISSING


@attrs.frozen
class And:
    """Every part holds; with no parts, true of everything."""

    parts: "tuple[Node, ...]"

    def matches(self, document: Any) -> bool:
        return all(part.matches(document) for part in self.parts)


@attrs.frozen
class Or:
    """At least one part holds; with no parts, true of nothing."""

    parts: "tuple[Node, ...]"

    def matches(self, document: Any) -> bool:
        return any(part.matches(document) for part in self.parts)


@attrs.frozen
class Not:
    """The part does not hold; so it is true of a document without the field."""

    part: "Node"

    def matches(self, document: Any) -> bool:
        return not self.part.matches(document)


Leaf = In | Contains | Range | Prefix | Exists
Node = Leaf | And | Or | Not


def matches(tree: Node | None, document: Any) -> bool:
    """Whether the filter lets the document through; None is no filter."""
    return tree is None or tree.matches(document)


def asks_nothing(tree: Node | None) -> bool:
    """Whether the filter is one without a condition, so that everything passes."""
    if isinstance(tree, And):
        return all(map(asks_nothing, tree.parts))
    if isinstance(tree, Or):
        return any(map(asks_nothing, tree.parts))
    return tree is None


_CONTAINS_SIZE = 4


def size(tree: Node | None) -> int:
    """How much work the filter is for a document: about one for each condition and each value it
    names, down to those within arrays and objects. ``Contains`` looks at many elements."""
    if tree is None:
        return 0
    if isinstance(tree, And | Or):
        return max(1, sum(map(size, tree.parts)))
    if isinstance(tree, Not):
        return size(tree.part)
    if isinstance(tree, In | Contains):
        values = max(1, sum(map(_value_size, tree.values.values)))
        return values * _CONTAINS_SIZE if isinstance(tree, Contains) else values
    return 1


def _value_size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_value_size, value.values()))
    return 1 + sum(map(_value_size, value)) if isinstance(value, list) else 1
