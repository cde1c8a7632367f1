"""What a find asks for, in one value that goes from the request to the rows."""

from collections.abc import Mapping
from typing import Any

import attrs

from kissvdb.core.filters.tree import Node


@attrs.frozen
class SortKey:
    """A field to sort by; ``nothing_first``: rows without it, or with null, come first."""

    path: str
    descending: bool = False
    nothing_first: bool = False


@attrs.frozen
class Place:
    """A place in an order: the values that the keys have there, and the id. Of arrays and objects
    only that they are such: [] and {}; of what is missing, None."""

    values: tuple[Any, ...]
    id: str


@attrs.frozen
class Find:
    """What to find: at most ``limit`` rows behind the place ``after``, in the order of ``sort``
    and then of ids. ``facets``: the commonest values of fields, so many each."""

    tree: Node | None = None
    sort: tuple[SortKey, ...] = ()
    limit: int = 20
    after: Place | None = None
    count: bool = False
    facets: Mapping[str, int] = attrs.field(factory=dict)
    explain: bool = False
