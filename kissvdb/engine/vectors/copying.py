"""Copying a collection into its shadow, with vectors of another embedder, while it is written to.

Every row of the collection is compared with the shadow's, by text, metadata and expiry; what
differs is embedded and written. Rows are never changed, only followed by others: so the next time
only those are compared that came since, until a vacuum has numbered them anew.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from kissvdb.embedders.registry import Embedders
from kissvdb.engine.threads import Threads
from kissvdb.engine.vectors.collection import Copy
from kissvdb.errors import EmbedderMismatch, TextMissing
from kissvdb.records import VectorWritten

if TYPE_CHECKING:
    # Not at run time: numpy comes with some, and the registry imports this.
    from kissvdb.core import bitmaps
    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.store.space import Space
    from kissvdb.core.store.spec import StoredRow
    from kissvdb.engine.vectors.registry import OpenCollection

PAGE_ROWS = 128
"""So many texts are embedded and written together."""
PAGE_TEXT_CHARS = 500_000
COMPARED_AT_ONCE = 32
"""Rows are compared on the loop: then others have their turn."""


@attrs.frozen(eq=False)
class _Seen:
    """What was copied: the rows of ``view``, numbered as they are in ``space``."""

    view: "RowsView"
    space: "Space"


class Copying:
    """One collection and its shadow."""

    def __init__(
        self,
        source: "OpenCollection",
        shadow: "OpenCollection",
        embedders: Embedders,
        threads: Threads,
    ) -> None:
        self.source = source
        self.shadow = shadow
        self._embedders = embedders
        self._threads = threads
        self._seen: _Seen | None = None

    @property
    def is_near(self) -> bool:
        """Whether only what came since the last time is to be compared."""
        return self._seen is not None and self._seen.space is self.source.actor.rows.space

    async def catch_up(self) -> int:
        """Make the shadow what the collection is now; answers in how many rows they differed.

        Raises TextMissing when all is done but rows without a text, EmbedderMismatch when the
        embedder has another model than the shadow, EmbedderUnavailable, PersistenceFailed, Damaged.
        """
        seen = self._seen if self.is_near else None
        view, space = self.source.actor.view(), self.source.actor.rows.space
        self._seen = None
        copied, textless = await self._copy(view, 0 if seen is None else seen.view.data.count)
        gone = await self._remove(view, seen)
        if textless:
            raise text_missing(self.source.name, textless)
        self._seen = _Seen(view, space)
        return copied + gone

    async def _copy(self, view: "RowsView", first: int) -> tuple[int, int]:
        """Copy what differs of the rows from ``first`` on: how many, and how many have no text."""
        rows = await self._threads.searches.run(view.hidden.living, view.data.count)
        rows = rows[rows >= first]
        copied = textless = chars = 0
        page: list[StoredRow] = []
        for start in range(0, len(rows), COMPARED_AT_ONCE):
            for row in rows[start : start + COMPARED_AT_ONCE].tolist():
                stored = view.stored(row)
                if not stored.text:
                    textless += 1
                elif not self._is_copied(stored):
                    page.append(stored)
                    chars += len(stored.text)
            if len(page) >= PAGE_ROWS or chars >= PAGE_TEXT_CHARS:
                await self._embed(page)
                copied += len(page)
                page, chars = [], 0
            await trio.lowlevel.checkpoint()
        await self._embed(page)
        return copied + len(page), textless

    def _is_copied(self, stored: "StoredRow") -> bool:
        found = self.shadow.actor.rows.stored(stored.id)
        return found is not None and (found.text, found.meta, found.expires_at_ms) == (
            stored.text,
            stored.meta,
            stored.expires_at_ms,
        )

    async def _embed(self, page: "Sequence[StoredRow]") -> None:
        if not page:
            return
        spec = self.shadow.spec
        assert spec.embedder is not None, "that is what it is made for"
        embedder = self._embedders.find(spec.embedder)
        if embedder.model != spec.embedder_model:
            raise EmbedderMismatch(
                f"embedder {spec.embedder!r} is {embedder.model} now, and was "
                f"{spec.embedder_model} when this began: begin anew"
            )
        vectors = await embedder.embed([each.text or "" for each in page], kind="passage")
        records = [
            VectorWritten(
                "upserted",
                spec.name,
                each.id,
                vector.astype("<f4", copy=False).tobytes(),
                each.meta,
                each.expires_at_ms,
                text=each.text,
            )
            for each, vector in zip(page, vectors, strict=True)
        ]
        await self.shadow.address.ask(Copy(records, ()))

    async def _remove(self, view: "RowsView", seen: _Seen | None) -> int:
        """Delete from the shadow what the collection has no more; how many."""
        if seen is None:
            known = self.shadow.actor.view()
            rows = await self._threads.searches.run(known.hidden.living, known.data.count)
        else:
            known = seen.view
            rows = await self._threads.searches.run(_hidden_since, known, view)
        count = 0
        for start in range(0, len(rows), PAGE_ROWS):
            ids = [known.data.id_at(row) for row in rows[start : start + PAGE_ROWS].tolist()]
            # Asked as it is now: what was written since has a row behind the view's.
            now = self.source.actor.view()
            gone = [id_ for id_ in ids if now.row_of(id_) is None]
            if gone:
                await self.shadow.address.ask(Copy((), gone))
                count += len(gone)
            await trio.lowlevel.checkpoint()
        return count


def _hidden_since(before: "RowsView", now: "RowsView") -> "bitmaps.Rows":
    """The rows that could be seen before, uint32, and cannot now. Any thread."""
    from kissvdb.core import bitmaps

    count = before.data.count
    seen, left = before.hidden.allowed(count), now.hidden.allowed(now.data.count)
    seen = bitmaps.full(count) if seen is None else seen
    left = bitmaps.full(now.data.count) if left is None else left
    return bitmaps.row_numbers(seen & ~left[: len(seen)])


def text_missing(collection: str, count: int) -> TextMissing:
    """The refusal where vectors cannot be made of texts."""
    return TextMissing(
        f"{count} of the vectors of collection {collection!r} have no text to make a new vector "
        "of: update them with a text, or delete them"
    )


def textless(view: "RowsView") -> int:
    """How many visible rows have no text. Any thread."""
    data = view.data
    return sum(
        data.text_end(row) == data.text_end(row - 1)
        for row in view.hidden.living(data.count).tolist()
    )
