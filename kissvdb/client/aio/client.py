"""The client: all parts over one pool of connections."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from types import TracebackType
from typing import Any

import msgspec

from kissvdb.client.aio.admin import Admin, Keys
from kissvdb.client.aio.documents import Documents
from kissvdb.client.aio.events import Events, Stream
from kissvdb.client.aio.http import Http
from kissvdb.client.aio.loading import Loading
from kissvdb.client.aio.patterns import JobProgress, Lock
from kissvdb.client.aio.sql import Sql
from kissvdb.client.aio.state import State
from kissvdb.client.aio.vectors import Vectors
from kissvdb.client.config import Config
from kissvdb.client.progress import Progress
from kissvdb.client.results import BatchAnswer, Loaded, decode
from kissvdb.client.wire import Call, given, sql_params


class AsyncClient:
    """Talks to one server. Safe to share between tasks.

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

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def last_offset(self) -> int:
        """The newest offset that this client has written or seen."""
        return self._http.offset

    async def batch(
        self,
        operations: Sequence[Mapping[str, Any]],
        *,
        preconditions: Sequence[Mapping[str, Any]] = (),
        op_id: str | None = None,
    ) -> BatchAnswer:
        """Do all of the operations or none: see docs/batch.md for what they look like. Raises what
        the first is refused with; its ``operation`` or ``precondition`` tells which."""
        for operation in operations:
            sql_params(operation.get("params") or ())
        op_id = self._http.op_id(op_id)
        body = given(operations=operations, preconditions=list(preconditions) or None, op_id=op_id)
        call = Call("POST", "/v1/batch", msgspec.json.encode(body), safe=op_id is not None)
        answer: BatchAnswer = decode(BatchAnswer, (await self._http.answer(call)).body)
        self._http.note_offset(answer.last_offset)
        return answer

    async def bulk(
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
        return await Loading(self._http, load_id, shown).run(operations)

    async def search(self, query: str, top_k: int = 10, **more: Any) -> list[dict[str, Any]]:
        """Find what was ingested with `ingest`. ``more``: what else POST /search takes."""
        body = given(query=query, top_k=top_k, **more)
        call = Call("POST", "/search", msgspec.json.encode(body), safe=True, reads=True)
        found = msgspec.json.decode((await self._http.answer(call)).body)
        results: list[dict[str, Any]] = found["results"]
        return results

    async def ingest(self, document: Mapping[str, Any], **more: Any) -> None:
        """Make a document findable by `search`: ``id``, ``content``, ``metadata``."""
        body = given(document=document, **more)
        # The same document again replaces itself.
        await self._http.answer(
            Call("POST", "/search/ingest", msgspec.json.encode(body), safe=True)
        )

    def lock(self, name: str, *, ttl_ms: int = 10_000, wait_secs: float | None = None) -> Lock:
        """A lock among all who use the server, to be held in a ``with`` block: see `Lock`."""
        return Lock(self.state, name, ttl_ms, wait_secs)

    def progress(
        self, key: str, of: int | None = None, *, ttl_ms: int | None = None
    ) -> JobProgress:
        """The progress of a job under a key, in a ``with`` block: see `JobProgress`."""
        return JobProgress(self.state, key, of, ttl_ms)

    async def health(self) -> bool:
        """Whether the server is alive."""
        return (await self._http.answer(Call("GET", "/v1/health", safe=True))).status == 200

    async def ready(self) -> dict[str, Any]:
        """Whether it is ready, its newest offset and its epoch. Raises Starting before that."""
        answer = await self._http.answer(Call("GET", "/v1/ready", safe=True))
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found
