"""One route: what to call, and all that the OpenAPI description says of it."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from kissvdb.api.context import Context
from kissvdb.api.http import Request, Response, StreamResponse
from kissvdb.errors import KissError

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

Answer = Response | StreamResponse
Operation = Callable[[Context, Request], Awaitable[Answer]]


@attrs.frozen
class Parameter:
    """A query parameter or a request header. ``schema`` is JSON Schema."""

    name: str
    description: str
    schema: dict[str, Any]
    place: str = "query"


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

    ``errors`` are the refusals of its own; those any request can meet are added in the
    description. ``public`` needs no API key. ``hot`` routes are also served by the fast lane.
    ``bounded`` is False for answers that may take any time (streams): no request timeout.
    ``waits`` is False when the operation never leaves the event loop, so needs none.
    """

    method: str
    path: str
    operation: Operation
    summary: str
    tag: str
    answer: Success
    body: Any = None
    body_media: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[KissError], ...] = ()
    public: bool = False
    hot: bool = False
    bounded: bool = True
    waits: bool = True

    @property
    def name(self) -> str:
        """The route's label in metrics: ``GET /v1/state/{key}``."""
        return f"{self.method} {self.path.replace('...', '')}"
