"""What a route touches: stated route by route in the table, enforced by `access.reach`.

A key with grants may use a route only where all that the request names is granted to it. What the
path and the query name is said here and checked before the operation runs; what a body holds are
commands, which the operation hands to `access.commands`; what an answer lists, it filters.
"""

from collections.abc import Mapping
from enum import Enum

import attrs


class Names(Enum):
    """What a parameter of a path or a query names."""

    KEY = "key"
    """A state key."""
    PREFIX = "prefix"
    """State keys that begin so; without it all of them."""
    VECTORS = "vectors"
    """A collection of vectors."""
    DOCUMENTS = "documents"
    """A collection of documents."""
    PART = "part"
    """A part of what another parameter names, such as an id in a collection; or no data at all."""


_NONE: Mapping[str, Names] = {}


@attrs.frozen
class Reach:
    """``path`` and ``query``: what each parameter names, by its name; ``always``: what the route
    touches without being told its name.

    ``commands``: the body holds commands, each checked where it was read. ``tables``: it holds SQL,
    of which SQLite tells what it touches when it is prepared. ``filtered``: the operation leaves
    out of its answer what the key may not see. ``everything``: the whole database, which only a key
    without grants may touch.
    """

    path: Mapping[str, Names] = attrs.field(default=_NONE, kw_only=True)
    query: Mapping[str, Names] = attrs.field(default=_NONE, kw_only=True)
    always: Mapping[str, Names] = attrs.field(default=_NONE, kw_only=True)
    commands: bool = attrs.field(default=False, kw_only=True)
    tables: bool = attrs.field(default=False, kw_only=True)
    filtered: bool = attrs.field(default=False, kw_only=True)
    everything: bool = attrs.field(default=False, kw_only=True)


NOTHING = Reach()
"""No data: health, pages."""
A_PAGE = Reach(path={"asset": Names.PART})
EVERYTHING = Reach(everything=True)
COMMANDS = Reach(commands=True)
TABLES = Reach(tables=True)
FILTERED = Reach(filtered=True)
A_KEY = Reach(path={"key": Names.KEY})
KEYS_OF_A_PREFIX = Reach(query={"prefix": Names.PREFIX})
VECTORS = Reach(path={"collection": Names.VECTORS})
DOCUMENTS = Reach(path={"collection": Names.DOCUMENTS})
A_DOCUMENT = Reach(path={"collection": Names.DOCUMENTS, "id": Names.PART})
