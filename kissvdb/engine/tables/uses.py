"""What of the database a statement may read, told by the names in its text and its parameters.

It names more than is read at times (a column may be called ``state``), and never less: SQLite finds
a table only by its name, views cannot use our tables, and collections that are not named so are
not found. So what has to be looked at is known before the statement begins.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from kissvdb.errors import InvalidArgument

PREFIX: Final = "kissvdb_"
"""Each table also goes by its name with this before it, for who has one of that name."""
COLLECTIONS_MAX: Final = 64
"""In one statement."""
NAME_CHARS_MAX: Final = 255
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"[A-Za-z0-9._-]+")

_READS: Final[Mapping[str, frozenset[str]]] = {
    "state": frozenset({"keys"}),
    "documents": frozenset({"documents"}),
    "vectors": frozenset({"vectors"}),
    "events": frozenset({"events"}),
    "vector_search": frozenset({"vectors"}),
    "text_search": frozenset({"documents", "vectors"}),
    "hybrid_search": frozenset({"vectors"}),
}
TABLES: Final = frozenset(_READS)


@attrs.frozen
class Uses:
    """What is to be looked at: all keys, the log, and collections by their names. ``names``: what
    may be the name of one, though there may be none."""

    keys: bool
    events: bool
    documents: frozenset[str]
    vectors: frozenset[str]
    names: frozenset[str] = frozenset()


def uses_of(
    sql: str,
    params: Sequence[Any] | Mapping[str, Any],
    has_documents: Callable[[str], bool],
    has_vectors: Callable[[str], bool],
) -> Uses | None:
    """What a statement may read; None if none of our tables. ``has_...``: whether there is such a
    collection, and it may be seen. Raises InvalidArgument for too many of them."""
    lowered = sql.lower()
    if not any(name in lowered for name in TABLES):
        # Most have none of them: to look for seven words takes no time.
        return None
    words = {word.removeprefix(PREFIX) for word in _WORD.findall(lowered)}
    reads: set[str] = set()
    for word in words & TABLES:
        reads |= _READS[word]
    if not reads:
        return None
    names: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    vectors: frozenset[str] = frozenset()
    if "documents" in reads or "vectors" in reads:
        bound = params.values() if isinstance(params, Mapping) else params
        texts = [each for each in bound if isinstance(each, str) and len(each) <= NAME_CHARS_MAX]
        names = frozenset((*_NAME.findall(sql), *texts))
        if "documents" in reads:
            documents = _known(names, has_documents)
        if "vectors" in reads:
            vectors = _known(names, has_vectors)
    return Uses("keys" in reads, "events" in reads, documents, vectors, names)


def _known(names: frozenset[str], has: Callable[[str], bool]) -> frozenset[str]:
    found = frozenset(filter(has, names))
    if len(found) > COLLECTIONS_MAX:
        raise InvalidArgument(
            f"the statement names {len(found)} collections, at most {COLLECTIONS_MAX} are looked "
            "at together: ask in several statements"
        )
    return found
