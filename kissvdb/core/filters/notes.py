"""What a filter leaves out that may have been meant: for people who ask why too little is found."""

from collections.abc import Callable, Iterator

from kissvdb.core.filters.tree import And, In, Leaf, Node, Not, Or, Range

LEAVES_MAX = 16
"""Conditions that are looked at: each may cost a pass over its field."""
PATH_LENGTH_MAX = 100


def about(tree: Node | None, count: Callable[[Node], int]) -> list[str]:
    """A sentence for each condition that is easily meant otherwise. ``count``: how many rows
    pass a filter."""
    notes = []
    for place, leaf in enumerate(_leaves(tree)):
        if place == LEAVES_MAX:
            break
        note = _about_range(leaf, count) if isinstance(leaf, Range) else _about_list(leaf)
        if note is not None:
            notes.append(f"{leaf.path[:PATH_LENGTH_MAX]}: {note}")
    return list(dict.fromkeys(notes))


def _leaves(tree: Node | None) -> Iterator[Leaf]:
    if isinstance(tree, And | Or):
        for part in tree.parts:
            yield from _leaves(part)
    elif isinstance(tree, Not):
        yield from _leaves(tree.part)
    elif tree is not None:
        yield tree


def _about_range(leaf: Range, count: Callable[[Node], int]) -> str | None:
    path = leaf.path
    if leaf.of_strings:
        mine, other = "strings", "numbers"
        others = count(Or((Range(path, gte=0), Range(path, lt=0))))
    else:
        mine, other = "numbers", "strings"
        others = count(Range(path, gte=""))
    if not others:
        return None
    who = "1 row has" if others == 1 else f"{others} rows have"
    return (
        f"a range of {mine} finds {mine} only, and {who} {other} there: "
        f"write the bounds as {other} to find those"
    )


def _about_list(leaf: Leaf) -> str | None:
    if not (isinstance(leaf, In) and any(type(each) is list for each in leaf.values.values)):
        return None
    return (
        "a list is compared whole and in order: to find one of its values write "
        '{"$in": [...]}, to find arrays that hold a value {"$contains": ...}'
    )
