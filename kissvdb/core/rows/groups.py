"""Search by groups: the best rows of the best groups, where a group is a value of a field.

Groups come in the order of their best rows. So the first rows found name the first groups; to find
more groups, rows of those known are filtered out, and to fill a group, all others are. However
large a group is, no search fetches more than a few rows for each group wanted.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec

from kissvdb.core.filters.parse import MISSING, And, In, Node, Not
from kissvdb.core.rows.search import Hits, taken

Search = Callable[[Node | None, int], Hits]
"""The best rows that pass a filter, at most so many."""
ValueAt = Callable[[int], Any]
"""The value of the field in a row."""


@attrs.frozen
class Group:
    """Hits that share a value of the field they were grouped by; ``filters.MISSING`` without it."""

    value: Any
    hits: Hits


def search_groups(
    search: Search, value_at: ValueAt, tree: Node | None, k: int, path: str, limit: int
) -> list[Group]:
    """The ``k`` best groups, each with its ``limit`` best rows. A row without the field is its own.

    ``path``: the field. ``tree``: the filter that all rows have to pass.
    """
    groups: dict[Any, Group] = {}
    want = k * limit
    while len(groups) < k:
        values = [group.value for group in groups.values() if group.value is not MISSING]
        found = search(_without(tree, path, values), want)
        before = len(groups)
        for key, group in _grouped(found, value_at).items():
            groups.setdefault(key, group)
        if len(found) < want or len(groups) == before:
            break
        # Rows without the field cannot be filtered out: they are found again.
        lone = sum(group.value is MISSING for group in groups.values())
        want = lone + 4 * (k - len(groups)) + 1
    return [_filled(search, group, tree, path, limit) for group in list(groups.values())[:k]]


def _without(tree: Node | None, path: str, values: Sequence[Any]) -> Node | None:
    if not values:
        return tree
    others = Not(In(path, tuple(values)))
    return others if tree is None else And((tree, others))


def _filled(search: Search, group: Group, tree: Node | None, path: str, limit: int) -> Group:
    if group.value is MISSING or len(group.hits) >= limit:
        return Group(group.value, group.hits.slice(0, limit))
    inside = In(path, (group.value,))
    return Group(group.value, search(inside if tree is None else And((tree, inside)), limit))


def _grouped(found: Hits, value_at: ValueAt) -> dict[Any, Group]:
    places: dict[Any, tuple[Any, list[int]]] = {}
    for place, row in enumerate(found.rows.tolist()):
        value = value_at(row)
        key = ("row", row) if value is MISSING else _key(value)
        places.setdefault(key, (value, []))[1].append(place)
    return {key: Group(value, taken(found, rows)) for key, (value, rows) in places.items()}


def _key(value: Any) -> Any:
    """Equal values have one key: numbers by value, other types apart."""
    if isinstance(value, (str, bool)) or value is None:
        return type(value), value
    if isinstance(value, (int, float)):
        return "number", value
    # Numbers inside arrays and objects too.
    return "text", msgspec.json.encode(_by_value(value), order="deterministic")


def _by_value(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_by_value(each) for each in value]
    if isinstance(value, dict):
        return {name: _by_value(each) for name, each in value.items()}
    return value
