"""Our tables beside the user's, on the connections that read SQL."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import apsw
import trio

from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.engine.sql.watch import Watch
from kissvdb.engine.tables.registering import VirtualTables
from kissvdb.engine.tables.sight import Bounds
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.engine.tables.taking import Sources, SqlFile, take
from kissvdb.engine.tables.uses import uses_of

CHARS_INLINE_MAX = 8192
"""Of a statement that is looked through on the event loop, in some 0.2 ms."""


class Everything:
    """As `sql.reading.OurTables`. What a query's ``sight`` may see, a `sight.Sight`, it sees;
    None sees everything."""

    def __init__(self, sources: Sources, sql: SqlFile, k_max: int) -> None:
        """``k_max``: the most hits of one search."""
        self._sources = sources
        self._sql = sql
        self._k_max = k_max

    def attach(self, db: Any) -> Callable[[Any], AbstractContextManager[None]]:
        """Put them on a connection; answers what makes a block in which they show a snapshot."""
        return VirtualTables(db).reading

    async def take(
        self, query: SqlQuery, watch: Watch, begin: Callable[[], None]
    ) -> Snapshot | None:
        """The snapshot that a statement reads; None if none of our tables is in it.

        Raises what `taking.take` does, and InvalidArgument.
        """
        sources = self._sources
        look = partial(uses_of, query.sql, query.params, sources.has_documents, sources.has_vectors)
        is_long = len(query.sql) + len(query.params) > CHARS_INLINE_MAX
        uses = await trio.to_thread.run_sync(look) if is_long else look()
        if uses is None:
            return None
        bounds = Bounds(
            lambda: watch.is_over,
            lambda: watch.seconds_left,
            self._k_max,
            query.sight,
            query.private,
        )
        with trio.move_on_after(watch.seconds_left):
            return await take(sources, uses, bounds, self._sql, begin)
        raise apsw.InterruptError("interrupted")
