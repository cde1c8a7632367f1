"""What every handler may use: the database, the settings, the metrics."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kissvdb.api.frame.http import Answer, Request
from kissvdb.config import Config
from kissvdb.metrics import Metrics

if TYPE_CHECKING:
    from kissvdb.engine.database import Database


@attrs.frozen
class Context:
    """Made once per server and handed to each handler beside the request."""

    database: "Database"
    config: Config
    metrics: Metrics
    executed: Callable[[Any, Sequence[str]], None] | None = None
    """What is to hear of a request's SQL statements once they are done, if anybody wants to."""
    ask: Callable[[Request], Awaitable[Answer]] | None = None
    """Another request, let in and answered as any that comes from outside."""
    remembered: dict[Any, Any] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    """What requests meant that are sent again, word for word; see `compiled.searching`."""
    memories: dict[Any, Any] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    """Where searches on the event loop work, by the numbers of a vector; see `compiled.ready`."""
    strict: bool = attrs.field(init=False)
    """Whether what a request says and nobody reads is refused."""

    @strict.default
    def _strict(self) -> bool:
        return self.config.server.unknown_fields == "refuse"
