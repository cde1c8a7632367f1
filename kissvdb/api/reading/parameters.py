"""The query parameters of a route: what it reads, and what is refused."""

import attrs
import msgspec

from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import Route
from kissvdb.api.reading.fields import SENT_BY_THE_SEED, meant, shown
from kissvdb.api.reading.query import parse_query
from kissvdb.api.vectors.forms import media_of
from kissvdb.errors import MistypedField

# The key is looked for by `auth`; that a server needs none is no reason to refuse it.
_EVERYWHERE = SENT_BY_THE_SEED | {"api_key"}

PASSED_MAX = 256
PASSED_BYTES_MAX = 512
"""Queries that are known to be right, of each route, and how long such a one may be."""


@attrs.frozen
class Parameters:
    """``names`` are always read; ``by_media`` only beside a body of the content type given.
    ``fields`` are those of the body: they have no place in the query."""

    names: frozenset[str]
    by_media: dict[str, str]
    fields: frozenset[str]
    _passed: set[tuple[str, str | None]] = attrs.field(
        factory=set, init=False, eq=False, repr=False
    )

    @classmethod
    def of(cls, route: Route) -> "Parameters":
        """Those of a route."""
        asked = [each for each in route.all_parameters if each.place == "query"]
        return cls(
            frozenset(each.name for each in asked if each.media is None),
            {each.name: each.media for each in asked if each.media is not None},
            _fields_of(route.body),
        )

    def check(self, request: Request) -> None:
        """Raises MistypedField for a parameter that would be passed over, InvalidArgument for a
        query that cannot be read. Names that begin with ``_`` are the client's own business."""
        asked = request.query, request.headers.get("content-type")
        if asked in self._passed:
            return
        self._check(request)
        if len(request.query) <= PASSED_BYTES_MAX:
            if len(self._passed) >= PASSED_MAX:
                self._passed.clear()
            self._passed.add(asked)

    def _check(self, request: Request) -> None:
        for name in parse_query(request.query):
            if name in self.names or name.startswith("_"):
                continue
            media = self.by_media.get(name)
            if name not in _EVERYWHERE if media is None else media_of(request) != media:
                raise MistypedField(f"query.{shown(name)}: {self._problem(name, media)}")

    def check_body(self, request: Request) -> None:
        """Raises MistypedField for a body on a route that reads none, unless it says nothing. A
        GET may have one that means nothing (RFC 9110, section 9.3.1)."""
        if request.method in ("GET", "HEAD") or request.body.strip() in (b"", b"{}", b"null"):
            return
        here = f"send {', '.join(sorted(self.names))} in the query" if self.names else "send none"
        raise MistypedField(f"body: is not read here: {here}")

    def _problem(self, name: str, media: str | None) -> str:
        if media is not None:
            return f"is read only beside a body of {media}: put it into the body"
        if name in self.fields:
            return f"belongs into the body, not into the query: send it as the field {name}"
        known = [*self.names, *self.by_media]
        found = meant(name, known)
        if found is not None:
            return f"unknown parameter, did you mean {found}?"
        found = meant(name, self.fields)
        if found is not None:
            return f"unknown parameter, did you mean {found} in the body?"
        there = f"there are {', '.join(sorted(known))}" if known else "this route has none"
        return f"unknown parameter; {there}"


def _fields_of(body: object) -> frozenset[str]:
    is_struct = isinstance(body, type) and issubclass(body, msgspec.Struct)
    return frozenset(body.__struct_encode_fields__ if is_struct else ())  # type: ignore[attr-defined]
