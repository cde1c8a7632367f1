"""One route: what to call, and all that the OpenAPI description says of it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Answer, Pending, Request
from kissvdb.api.frame.principal import Scope as Scope
from kissvdb.api.frame.reach import Reach
from kissvdb.errors import KissError

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
MERGE_PATCH = "application/merge-patch+json"

_PARAMETER = re.compile(r"{([^}]+)}")
_NOT_WORD = re.compile(r"[^A-Za-z0-9]+")

Operation = Callable[[Context, Request], Answer | Pending | Awaitable[Answer | Pending]]
"""What answers a request: at once, by a reply that is on its way, or as a coroutine. A plain
function that returns a coroutine has done nothing yet: a door may drop that and call again."""


@attrs.frozen
class Parameter:
    """A query parameter or a request header. ``schema`` is JSON Schema. ``media``: read only
    beside a body of this content type."""

    name: str
    description: str
    schema: dict[str, Any]
    place: str = "query"
    media: str | None = None


_U64 = {"type": "integer", "format": "uint64", "minimum": 0, "maximum": 2**64 - 1}
OFFSET_PARAMETERS = (
    Parameter(
        "min_offset",
        "Answer only with everything up to this offset; wait for it, and then 503.",
        _U64,
    ),
    Parameter("timeout_ms", "How long to wait for min_offset (default 1000).", _U64),
)


@attrs.frozen
class Success:
    """An answer that is not an error. ``type`` is an attrs class (or list of one); without it
    the body is text or bytes of ``media``. ``headers``: name to description."""

    description: str
    type: Any = None
    media: str | None = JSON
    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Route:
    """A method and a path template (see Router) with the operation behind it.

    ``also`` are further answers that are not errors. ``errors`` are the refusals of its own;
    those any request can meet are added in the description. ``scope`` PUBLIC needs no API key;
    ``reach`` is what a key with grants must be granted (see `reach`). Both are decided for every
    route: there is no default, and a parameter of the path without a meaning is refused.
    ``hot`` routes are also served by the fast lane. ``bounded`` is False for answers that may
    take any time (streams): no request timeout. ``waits`` is False when the operation never
    leaves the event loop: it cannot be too late. ``recovered`` is False for what is answered
    while the data is still recovered; other requests wait for it. ``body_optional``: an empty body
    is read as one that says nothing. ``any_query``: unknown parameters
    are not the server's business (a page's own scripts read them). ``audited``: who used it is
    an event of type ``audit``, where these are wanted. ``relays``: it asks other routes, each of
    which is limited itself.
    """

    method: str
    path: str
    operation: Operation
    summary: str
    tag: str
    answer: Success
    scope: Scope = attrs.field(kw_only=True)
    reach: Reach = attrs.field(kw_only=True)
    body: Any = None
    body_media: tuple[str, ...] = ()
    body_optional: bool = False
    parameters: tuple[Parameter, ...] = ()
    also: tuple[Success, ...] = ()
    errors: tuple[type[KissError], ...] = ()
    hot: bool = False
    bounded: bool = True
    waits: bool = True
    streamed: bool = False
    recovered: bool = True
    any_query: bool = False
    audited: bool = False
    relays: bool = False

    def __attrs_post_init__(self) -> None:
        named, queried = set(self.path_parameters), {each.name for each in self.parameters}
        decided = set(self.reach.path)
        assert named == decided, f"{self.name}: what do {named ^ decided} name? see reach.path"
        assert queried.issuperset(self.reach.query), f"{self.name}: reach.query names no parameter"

    @property
    def reads(self) -> bool:
        """Whether it reads the data: then it takes `OFFSET_PARAMETERS`, too."""
        return self.scope is Scope.READ and self.recovered and not self.any_query

    @property
    def searches(self) -> bool:
        """Whether it reads what needs a body to say, and may take long: of these a caller may have
        only so many at once."""
        return self.scope is Scope.READ and self.body is not None and not self.relays

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """Its own, and those that every route takes that reads."""
        return (*self.parameters, *OFFSET_PARAMETERS) if self.reads else self.parameters

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(name.removesuffix("...") for name in _PARAMETER.findall(self.path))

    @property
    def operation_id(self) -> str:
        """A name for generated clients, unique in the table: ``get_v1_state_key``."""
        return _NOT_WORD.sub("_", f"{self.method}{self.path}").strip("_").lower()

    @property
    def name(self) -> str:
        """The route's label in metrics: ``GET /v1/state/{key}``."""
        return f"{self.method} {self.path.replace('...', '')}"
