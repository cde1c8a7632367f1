"""A route made ready for requests, and a request whose answer is on its way."""

import inspect
from typing import Self

import attrs
import msgspec

from kissvdb.api.frame.http import Pending, Request
from kissvdb.api.frame.route import Route
from kissvdb.api.reading.parameters import Parameters
from kissvdb.metrics import Metrics, RouteMetrics


@attrs.frozen
class Bound:
    """A route with what is looked up once instead of at every request.

    ``prompt``: its operation is a plain function, which may answer without a task to wait in.
    ``parameters``: those of the query, unless any are passed over.
    """

    route: Route
    metrics: RouteMetrics
    media: frozenset[str]
    prompt: bool
    parameters: Parameters | None

    @classmethod
    def of(cls, route: Route, metrics: Metrics, *, strict: bool) -> Self:
        """``strict``: what a request says and nobody reads is refused."""
        prompt = not inspect.iscoroutinefunction(route.operation)
        parameters = Parameters.of(route) if strict and not route.any_query else None
        media = frozenset(route.body_media)
        return cls(route, metrics.route(route.name), media, prompt, parameters)


class Begun(msgspec.Struct, frozen=True):
    """A request whose answer is on its way: see `Api.begin`."""

    request: Request
    bound: Bound
    pending: Pending
    started: float
