"""Finds what a method and a raw path mean. Shared by every door, so that all agree.

A template is literal segments and parameters: ``{name}`` is one segment, ``{name...}`` (last
only) is all the rest, slashes included. Matching looks at the path as it came; parameters are
percent-decoded afterwards, so ``a/b`` and ``a%2Fb`` both reach ``{key...}`` and ``+`` stays.
"""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from kissvdb.api.reading.query import percent_decode
from kissvdb.errors import MethodNotAllowed, NotFound

T = TypeVar("T")

_NONE: Mapping[str, str] = {}


@attrs.frozen
class Template:
    """A path with parameters. ``prefix`` comes before the first one, ``suffix`` after the last;
    ``only`` names the parameter that is all that follows the prefix, if one is."""

    prefix: str
    segments: tuple[str, ...]
    suffix: str
    only: str

    @classmethod
    def parse(cls, path: str) -> "Template":
        prefix, _, rest = path.partition("{")
        segments = tuple(("{" + rest).split("/"))
        only = rest[:-4] if len(segments) == 1 and rest.endswith("...}") else ""
        return cls(prefix, segments, rest.rpartition("}")[2], only)

    @property
    def literals(self) -> int:
        return sum(not segment.startswith("{") for segment in self.segments)

    def match(self, path: str) -> Mapping[str, str] | None:
        """The decoded parameters of a path, or None when it is not one of these."""
        if not (path.startswith(self.prefix) and path.endswith(self.suffix)):
            return None
        rest = path[len(self.prefix) :]
        if self.only:
            return {self.only: percent_decode(rest, self.only)}
        count = len(self.segments)
        last = self.segments[-1]
        parts = rest.split("/", count - 1 if last.endswith("...}") else -1)
        if len(parts) != count:
            return None
        params = {}
        for segment, part in zip(self.segments, parts, strict=True):
            if segment.startswith("{"):
                name = segment[1:-1].removesuffix("...")
                params[name] = percent_decode(part, name)
            elif segment != part:
                return None
        return params


@attrs.frozen
class Beginning:
    """What makes a path one of a route's: it begins with ``prefix``, and all the rest is the
    ``parameter``, unless it is one of ``others``: these are other routes. Without a parameter
    nothing follows."""

    prefix: str
    parameter: str = ""
    others: frozenset[bytes] = frozenset()


class Router(Generic[T]):
    """Paths without parameters are looked up; the others are tried in order of how much of
    them is literal. GET serves HEAD."""

    def __init__(self, entries: Iterable[tuple[str, str, T]]) -> None:
        self._exact: dict[str, dict[str, T]] = {}
        templates: dict[str, dict[str, T]] = {}
        for method, path, target in entries:
            table = templates if "{" in path else self._exact
            methods = table.setdefault(path, {})
            assert method not in methods, f"two routes for {method} {path}"
            methods[method] = target
            if method == "GET":
                methods["HEAD"] = target
        self._templates = sorted(
            ((Template.parse(path), methods) for path, methods in templates.items()),
            key=lambda entry: (-len(entry[0].prefix), -entry[0].literals),
        )
        # Most paths have one or two templates that begin as they do.
        self._start = min((len(template.prefix) for template, _ in self._templates), default=0)
        self._by_start: dict[str, list[tuple[Template, dict[str, T]]]] = {}
        for entry in self._templates:
            self._by_start.setdefault(entry[0].prefix[: self._start], []).append(entry)

    def find(self, method: str, path: str) -> tuple[T, Mapping[str, str]]:
        """The target and the decoded parameters.

        Raises NotFound, MethodNotAllowed (with what is allowed), and InvalidArgument for a
        parameter that is not percent-encoded UTF-8.
        """
        methods = self._exact.get(path)
        if methods is not None and method in methods:
            return methods[method], _NONE
        for template, methods in self._by_start.get(path[: self._start], ()):
            if method in methods:
                params = template.match(path)
                if params is not None:
                    return methods[method], params
        allowed = self.allowed(path)
        if not allowed:
            raise NotFound(f"no route {path[:200]}: see /docs for all there are")
        raise MethodNotAllowed(
            f"{method} is not possible on {path[:200]}: use {', '.join(allowed)}", allowed
        )

    def beginning(self, method: str, path: str) -> Beginning | None:
        """Which paths mean what this one does, that `find` has found; None: these cannot be told
        by how they begin alone."""
        if method in self._exact.get(path, ()):
            return Beginning(path)
        for place, (template, methods) in enumerate(self._templates):
            if method not in methods or template.match(path) is None:
                continue
            prefix = template.prefix
            closer = (each.prefix for each, also in self._templates[:place] if method in also)
            if not template.only or any(each.startswith(prefix) for each in closer):
                return None
            others = (
                each.removeprefix(prefix).encode()
                for each, also in self._exact.items()
                if method in also and each.startswith(prefix)
            )
            return Beginning(prefix, template.only, frozenset(others))
        return None

    def allowed(self, path: str) -> tuple[str, ...]:
        """The methods of a path, sorted, with OPTIONS; empty when there is no such path."""
        found = set(self._exact.get(path, ()))
        for template, methods in self._templates:
            if template.match(path) is not None:
                found.update(methods)
        return (*sorted(found), "OPTIONS") if found else ()
