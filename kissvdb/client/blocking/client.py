"""The client: all parts over one pool of connections."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from types import TracebackType
from typing import Any

import msgspec

from kissvdb.client.blocking.admin import Admin, Keys
from kissvdb.client.blocking.documents import Documents
from kissvdb.client.blocking.events import Events, Stream, Subscription
from kissvdb.client.blocking.http import Http
from kissvdb.client.blocking.jobs import Queue
from kissvdb.client.blocking.leader import Leader
from kissvdb.client.blocking.loading import Loading, batch
from kissvdb.client.blocking.patterns import JobProgress, Lock
from kissvdb.client.blocking.sharing import Cache, Limiter
from kissvdb.client.blocking.sql import Sql
from kissvdb.client.blocking.state import State
from kissvdb.client.blocking.vectors import Vectors
from kissvdb.client.config import Config
from kissvdb.client.progress import Progress
from kissvdb.client.results import BatchAnswer, Loaded
from kissvdb.client.wire import Call, given, to_json

TOPIC = "topic"
"""The type of the events of topics."""


def topic_key(topic: str) -> str:
    """What the messages of a topic are about."""
    return f"topic:{topic}"


class Client:
    """Talks to one server. Safe to share between threads.

    What the server refuses is raised as the exceptions of `kissvdb.errors`. Calls are repeated
    within their time where that does no harm: see `Config`.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, config: Config | None = None
    ) -> None:
        """``config``, or else what the environment says; ``url`` and ``key`` go before either."""
        config = Config.from_env() if config is None else config
        if url is not None:
            config = msgspec.structs.replace(config, url=url)
        if key is not None:
            config = msgspec.structs.replace(config, key=key)
        http = self._http = Http(config)
        self.config = config
        self.state = State(http)
        self.events = Events(http)
        self.stream = Stream(http)
        self.vector = Vectors(http)
        self.doc = Documents(http)
        self.sql = Sql(http)
        self.keys = Keys(http)
        self.admin = Admin(http)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def last_offset(self) -> int:
        """The newest offset that this client has written or seen."""
        return self._http.offset

    def batch(
        self,
        operations: Sequence[Mapping[str, Any]],
        *,
        preconditions: Sequence[Mapping[str, Any]] = (),
        op_id: str | None = None,
    ) -> BatchAnswer:
        """Do all of the operations or none: see docs/batch.md for what they look like. Raises what
        the first is refused with; its ``operation`` or ``precondition`` tells which."""
        return batch(self._http, operations, preconditions, op_id)

    def bulk(
        self,
        operations: Iterable[Mapping[str, Any]],
        *,
        load_id: str | None = None,
        progress: bool | None = None,
    ) -> Loaded:
        """Load many operations, each for itself, as those of a batch. What is refused stops
        nothing. ``load_id``: a name for the load; one that was broken off is done again under the
        same name with the same operations, and nothing is done twice. ``progress`` None: shown
        on a terminal."""
        total = len(operations) if isinstance(operations, Sized) else None
        shown = Progress("loading", total, progress)
        return Loading(self._http, load_id, shown).run(operations)

    def search(self, query: str, top_k: int = 10, **more: Any) -> list[dict[str, Any]]:
        """Find what was ingested with `ingest`. ``more``: what else POST /search takes."""
        body = given(query=query, top_k=top_k, **more)
        call = Call("POST", "/search", to_json(body), safe=True, reads=True)
        found = msgspec.json.decode((self._http.answer(call)).body)
        results: list[dict[str, Any]] = found["results"]
        return results

    def ingest(self, document: Mapping[str, Any], **more: Any) -> None:
        """Make a document findable by `search`: ``id``, ``content``, ``metadata``."""
        body = given(document=document, **more)
        # The same document again replaces itself.
        self._http.answer(Call("POST", "/search/ingest", to_json(body), safe=True))

    def lock(self, name: str, *, ttl_ms: int = 10_000, wait_secs: float | None = None) -> Lock:
        """A lock among all who use the server, to be held in a ``with`` block: see `Lock`."""
        return Lock(self.state, name, ttl_ms, wait_secs)

    def leader(self, name: str, *, ttl_ms: int = 15_000, wait_secs: float | None = None) -> Leader:
        """One leader among all who use the server, in a ``with`` block: see `Leader`."""
        return Leader(self._http, name, ttl_ms, wait_secs)

    def limiter(self, name: str, *, per_sec: float, burst: int = 1) -> Limiter:
        """A rate that all who use the server share: see `Limiter`."""
        return Limiter(self.state, name, per_sec, burst)

    def cache(self, name: str, *, ttl_ms: int, making_ms: int = 30_000) -> Cache:
        """A shared cache, also as a decorator of a function: see `Cache`."""
        return Cache(self.state, name, ttl_ms, making_ms)

    def queue(self, name: str, *, lease_ms: int = 30_000, tries_max: int = 5) -> Queue:
        """Jobs, each for one worker at a time: see `Queue`."""
        return Queue(self._http, name, lease_ms, tries_max)

    def publish(self, topic: str, data: Any, *, op_id: str | None = None) -> int | None:
        """Send a message to a topic; its offset. It is kept as long as the log is."""
        return self.events.publish(TOPIC, data, key=topic_key(topic), op_id=op_id)

    def subscribe(
        self, topic: str, *, since: int | str = "now", epoch: str | None = None
    ) -> Subscription:
        """The messages of a topic, or of all that begin so (``"orders.*"``): from now on, or after
        an offset, each once and in order; see `Subscription`."""
        key = topic_key(topic)
        if key.endswith("*"):
            return self.stream.events(since=since, types=[TOPIC], key_prefix=key[:-1], epoch=epoch)
        return self.stream.events(since=since, types=[TOPIC], key=key, epoch=epoch)

    def progress(
        self, key: str, of: int | None = None, *, ttl_ms: int | None = None
    ) -> JobProgress:
        """The progress of a job under a key, in a ``with`` block: see `JobProgress`."""
        return JobProgress(self.state, key, of, ttl_ms)

    def health(self) -> bool:
        """Whether the server is alive."""
        return (self._http.answer(Call("GET", "/v1/health", safe=True))).status == 200

    def ready(self) -> dict[str, Any]:
        """Whether it is ready, its newest offset and its epoch. Raises Starting before that."""
        answer = self._http.answer(Call("GET", "/v1/ready", safe=True))
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found
