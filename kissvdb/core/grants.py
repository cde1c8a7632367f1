"""What a key may touch: patterns of names, one list for each kind of thing.

A pattern is a name, or with a ``*`` at its end all names that begin so; there is no other wildcard.
A kind without a pattern allows nothing. Everything is decided here by names alone, never by what
exists: so a refusal cannot tell whether there is such a thing.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Protocol, Self

import attrs

from kissvdb.core.state.reserved_keys import (
    DOCUMENT_PREFIX,
    PREFIX,
    SETTINGS_PREFIX,
    collection_of,
    document_prefix,
    is_name,
    settings_of,
)
from kissvdb.errors import MistypedField

KINDS = ("keys", "vectors", "documents", "tables", "events", "routes")
PATTERNS_MAX = 100
"""Of one kind."""
PATTERN_BYTES_MAX = 512

_MANIFEST = ":manifest"
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def is_private(type_: str) -> bool:
    """Whether events of this type are for admins without grants only."""
    return type_ == "audit" or type_.startswith("api_key_")


class Seen(Protocol):
    """What is looked at of an event of the stream. ``tables``: those that one of SQL is about."""

    type: str
    key: str | None
    collection: str | None
    tables: tuple[str, ...]


@attrs.frozen
class _Matcher:
    """Patterns of one kind, ready to be asked."""

    names: frozenset[str]
    starts: tuple[str, ...]

    @classmethod
    def of(cls, patterns: tuple[str, ...]) -> Self:
        return cls(
            frozenset(each for each in patterns if not each.endswith("*")),
            tuple(each[:-1] for each in patterns if each.endswith("*")),
        )

    def match(self, name: str) -> bool:
        return name in self.names or name.startswith(self.starts)

    def cover(self, start: str) -> bool:
        """Whether every name that begins with ``start`` matches."""
        return start.startswith(self.starts)


@attrs.frozen
class Grants:
    """The patterns of a key that may not touch everything.

    ``keys`` are of the state; those that belong to documents or vectors are decided by these.
    ``documents`` and ``vectors`` name collections, ``tables`` those of SQL (letters of either
    case), ``events`` types of user events. ``routes`` only takes away: None leaves all routes whose
    things are granted; a pattern is a path as the API description writes it, with or without a
    method before it: ``/v1/state/{key}``, ``GET /v1/doc/*``.
    """

    keys: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    routes: tuple[str, ...] | None = None
    _keys: _Matcher = attrs.field(init=False, eq=False, repr=False)
    _vectors: _Matcher = attrs.field(init=False, eq=False, repr=False)
    _documents: _Matcher = attrs.field(init=False, eq=False, repr=False)
    _tables: _Matcher = attrs.field(init=False, eq=False, repr=False)
    _events: _Matcher = attrs.field(init=False, eq=False, repr=False)
    _routes: _Matcher = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for kind in KINDS:
            patterns: tuple[str, ...] = getattr(self, kind) or ()
            if kind == "tables":
                patterns = tuple(each.translate(_ASCII_LOWER) for each in patterns)
            # Made once: it is asked for every key, and is no part of what grants are compared by.
            object.__setattr__(self, f"_{kind}", _Matcher.of(patterns))

    @classmethod
    def from_json(cls, value: Any, name: str = "scopes") -> Self:
        """Of ``{"keys": ["a:*"], ...}``; kinds may be left out, not all of them.

        Raises MistypedField.
        """
        if not isinstance(value, Mapping):
            raise MistypedField(f"{name}: expected an object of lists of patterns")
        for kind in value:
            if kind not in KINDS:
                raise MistypedField(f"{name}.{str(kind)[:100]}: unknown; {_meant(str(kind))}")
        if not value:
            raise MistypedField(
                f"{name}: nothing is granted; name at least one of {', '.join(KINDS)}, or leave "
                f"{name} out for everything"
            )
        patterns: dict[str, Any] = {
            kind: _patterns(found, f"{name}.{kind}") for kind, found in value.items()
        }
        return cls(**patterns)

    def to_json(self) -> dict[str, list[str]]:
        """What `from_json` reads, without the kinds that allow nothing."""
        said = {kind: list(getattr(self, kind) or ()) for kind in KINDS}
        return {
            kind: patterns
            for kind, patterns in said.items()
            if patterns or (kind == "routes" and self.routes is not None)
        } or {"keys": []}

    def may_key(self, key: str) -> bool:
        """Whether a key of the state is granted, by ``keys`` or by what it belongs to."""
        if key.startswith(DOCUMENT_PREFIX):
            return self.may_documents(key[len(DOCUMENT_PREFIX) :].partition(":")[0])
        if key.startswith(SETTINGS_PREFIX):
            name = settings_of(key)
            if name is not None:
                return self.may_documents(name)
        elif key.startswith(PREFIX):
            name = collection_of(key)
            if name is not None and is_name(name):
                return self.may_vectors(name)
        return self._keys.match(key)

    def may_prefix(self, prefix: str) -> bool:
        """Whether every key that begins with ``prefix`` is granted."""
        documents, vectors = self._documents, self._vectors
        return (
            # No other keys than documents begin so.
            (prefix.startswith(DOCUMENT_PREFIX) or self._keys.cover(prefix))
            and _covers(documents, prefix, DOCUMENT_PREFIX, "")
            and _covers(documents, prefix, SETTINGS_PREFIX, _MANIFEST)
            and _covers(vectors, prefix, PREFIX, _MANIFEST)
        )

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of keys that may be listed, to be named in a refusal."""
        said = list(self._keys.starts)
        said += map(document_prefix, self._documents.names)
        said += [DOCUMENT_PREFIX + start for start in self._documents.starts]
        return tuple(filter(self.may_prefix, sorted(said)))

    @property
    def beginnings(self) -> tuple[str, ...]:
        """Every stored key that is granted begins with one of these, though others may, too."""
        keys, documents = self._keys, self._documents
        said = [*keys.names, *keys.starts]
        said += map(document_prefix, documents.names)
        said += [DOCUMENT_PREFIX + start for start in documents.starts]
        said += [SETTINGS_PREFIX + each for each in (*documents.names, *documents.starts)]
        return tuple(said)

    def may_vectors(self, collection: str) -> bool:
        """Whether a collection of vectors is granted."""
        return self._vectors.match(collection)

    def may_documents(self, collection: str) -> bool:
        """Whether a collection of documents is granted."""
        return self._documents.match(collection)

    def may_table(self, table: str) -> bool:
        """Whether a table of SQL is granted; SQLite takes ASCII letters of either case for one."""
        return self._tables.match(table.translate(_ASCII_LOWER))

    def may_event(self, type_: str, key: str | None = None) -> bool:
        """Whether a user event is granted: its type, and its key if it has one."""
        return self._events.match(type_) and (key is None or self.may_key(key))

    def may_route(self, method: str, path: str) -> bool:
        """Whether a route is not taken away. ``path``: its template; HEAD is GET."""
        if self.routes is None:
            return True
        method = "GET" if method == "HEAD" else method
        return self._routes.match(path) or self._routes.match(f"{method} {path}")

    def may_see(self, event: Seen) -> bool:
        """Whether an event of the stream is about something that is granted.

        What is about several things at once (the mark of a batch) is nobody's who has grants.
        """
        type_ = event.type
        if type_.startswith("state_"):
            return event.key is not None and self.may_key(event.key)
        if type_.startswith("vector_"):
            return event.collection is not None and self.may_vectors(event.collection)
        if type_.startswith("doc_"):
            return event.collection is not None and self.may_documents(event.collection)
        if type_.startswith("sql_"):
            tables = event.tables
            return bool(tables) and all(map(self.may_table, tables))
        if type_ == "batch_committed" or is_private(type_):
            return False
        return self.may_event(type_, event.key)


def _covers(matcher: _Matcher, prefix: str, head: str, tail: str) -> bool:
    """Whether the keys ``<head><collection><tail or :...>`` that begin with ``prefix`` are all of
    collections that match."""
    if head.startswith(prefix):
        return matcher.cover("")
    if not prefix.startswith(head):
        return True
    name, colon, rest = prefix[len(head) :].partition(":")
    if not colon:
        return matcher.cover(name)
    return matcher.match(name) or bool(tail and not tail.startswith(":" + rest))


def _patterns(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise MistypedField(f"{name}: expected a list of patterns")
    if len(value) > PATTERNS_MAX:
        raise MistypedField(f"{name}: {len(value)} patterns, at most {PATTERNS_MAX} are kept")
    for place, pattern in enumerate(value):
        _check_pattern(pattern, f"{name}[{place}]")
    if name.endswith(".keys"):
        for place, pattern in enumerate(value):
            if pattern.startswith(DOCUMENT_PREFIX):
                raise MistypedField(
                    f"{name}[{place}]: keys that begin with {DOCUMENT_PREFIX!r} are documents: "
                    "grant their collections under documents"
                )
    return tuple(dict.fromkeys(value))


def _check_pattern(pattern: Any, name: str) -> None:
    if not isinstance(pattern, str) or not pattern:
        raise MistypedField(f"{name}: expected a name, or the beginning of names with * behind it")
    if len(pattern.encode("utf-8", "surrogatepass")) > PATTERN_BYTES_MAX:
        raise MistypedField(f"{name}: over {PATTERN_BYTES_MAX} bytes")
    if "*" in pattern[:-1]:
        raise MistypedField(f"{name}: * stands only at the end, for all that begins so")


def _meant(kind: str) -> str:
    near = get_close_matches(kind, KINDS, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(KINDS)}"
