"""Keys as they were at an offset, as far as the log can tell.

A key that has not changed since is answered from the table. Of another one the first change after
the offset says whether it was there at all (a first revision says that it was not), and the last
one before the offset says what it was. Both are looked for in the log, in threads, piece by piece;
where the log begins too late the answer is refused, and never a guess.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple

import attrs

from actors import Workers
from kissvdb import records
from kissvdb.core.state import reserved_keys
from kissvdb.core.state.rules import Item, Page
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.state.model import State
from kissvdb.errors import InvalidArgument, OffsetTruncated, PastTruncated
from kissvdb.records import KeyDeleted, KeyWritten, LogRecord

PIECE_BYTES = 1024 * 1024
"""So much of the log is read at a time, before others have the thread."""

WINDOW_OFFSETS = 4096
"""So many offsets are read at a time where the search goes back."""

CHANGED_KEYS_MAX = 20_000
"""So many changed keys are kept for a list. With more of them its page ends earlier."""

Change = KeyWritten | KeyDeleted


class _First(NamedTuple):
    """The first change of a key after the offset; ``was_there``: it was, at that offset."""

    offset: int
    was_there: bool


class Past:
    """Answers for a state what it was. Any number of questions may be under way."""

    def __init__(
        self,
        state: State,
        log: EventLog,
        workers: Workers,
        reached: Callable[[int], Awaitable[None]],
        last_offset: Callable[[], int],
    ) -> None:
        """``reached``: waits until reads see an offset; ``last_offset``: the newest there is."""
        self._state = state
        self._log = log
        self._workers = workers
        self._reached = reached
        self._last_offset = last_offset

    async def get(self, key: str, at: int) -> Item | None:
        """The key as it was when offset ``at`` was the newest; None when it was absent or expired.

        Raises PastTruncated where the log does not tell, InvalidArgument for an offset that is not
        there yet, Unavailable and Damaged as a read of the log does.
        """
        await self._check(at)
        if reserved_keys.collection_of(key) is not None:
            raise InvalidArgument(f"key {key!r} shows a collection, and has no past: leave at out")
        # One shard may be further than another: the table holds nothing that the log does not.
        until, item = self._last_offset(), self._state.stored(key)
        if item is None or item.offset > at:
            first = (await self._first_changes(_Wanted.of_key(key), at, until)).get(key)
            if first is None or not first.was_there:
                return None
            item = (await self._last_changes({key: first}, at))[key]
        return item if await self._was_live(item, at) else None

    async def page(self, prefix: str, limit: int, after: str | None, at: int) -> Page:
        """Live keys with this prefix as they were at ``at``, in byte order. A page may have fewer
        than ``limit`` keys, or none, and a cursor. Raises what `get` does."""
        await self._check(at)
        await self._state.get_ready()
        until = self._last_offset()
        items, horizon = self._state.stored_page(prefix, limit, after)
        wanted = _Wanted(prefix, after, horizon)
        changed = await self._first_changes(wanted, at, until)
        horizon = wanted.horizon
        there: dict[str, Item | None] = {item.key: item for item in items if item.offset <= at}
        for key, first in changed.items():
            # What is logged and not in the table yet is there as it is.
            if first.was_there:
                there.setdefault(key, None)
        keys = sorted(key for key in there if horizon is None or key <= horizon)
        if len(keys) > limit:
            keys, horizon = keys[:limit], keys[limit - 1]
        missing = {key: changed[key] for key in keys if there[key] is None}
        found = await self._last_changes(missing, at)
        page = []
        for key in keys:
            item = there[key] or found[key]
            if await self._was_live(item, at):
                page.append(item)
        return Page(page, at, horizon)

    async def _check(self, at: int) -> None:
        newest = self._last_offset()
        if at > newest:
            raise InvalidArgument(f"query.at: offset {at} is not there yet, the newest is {newest}")
        # What is read from the table must be as new.
        await self._reached(at)

    async def _was_live(self, item: Item, at: int) -> bool:
        if item.expires_at_ms is None:
            return True
        return item.expires_at_ms > await self._time_of(at)

    async def _time_of(self, at: int) -> int:
        """When the newest record up to ``at`` was logged."""
        high = at
        while high >= (first := self._log.first_offset):
            low = max(first - 1, high - WINDOW_OFFSETS)
            found = await self._workers.run(self._newest, low, high)
            if found is not None:
                return found.ts_ms
            high = low
        raise _truncated(f"when offset {at} was", first, first)

    def _newest(self, after: int, until: int) -> LogRecord | None:
        newest = None
        while after < until:
            try:
                found = self._log.read(after, bytes_max=PIECE_BYTES, until=until)
            except OffsetTruncated as error:
                after = error.first_offset - 1
                continue
            if not found:
                break
            newest, after = found[-1], found[-1].offset
        return newest

    async def _first_changes(self, wanted: "_Wanted", at: int, until: int) -> dict[str, _First]:
        """The first change of each wanted key in ``at`` < offset <= ``until``."""
        changed: dict[str, _First] = {}
        after = at
        while after < until:
            try:
                after = await self._workers.run(self._read_first, wanted, changed, after, until)
            except OffsetTruncated as error:
                first = error.first_offset
                known = await self._first_changes(wanted, first - 1, until)
                told = [each.offset for each in known.values() if each.was_there]
                oldest = max(told, default=first - 1)
                raise _truncated(f"what happened after offset {at}", first, oldest) from None
            if wanted.only and changed:
                break
        return changed

    def _read_first(
        self, wanted: "_Wanted", changed: dict[str, _First], after: int, until: int
    ) -> int:
        """Read a piece; returns up to where."""
        found = self._log.read(after, bytes_max=PIECE_BYTES, until=until)
        for each in found:
            record = wanted.change(each.payload)
            if record is not None and record.key not in changed:
                is_first = isinstance(record, KeyWritten) and record.revision == 1
                changed[record.key] = _First(each.offset, not is_first)
                if len(changed) > CHANGED_KEYS_MAX:
                    wanted.narrow(changed)
        return found[-1].offset if found else until

    async def _last_changes(self, missing: Mapping[str, _First], at: int) -> dict[str, Item]:
        """What the keys were at ``at``, where each was there."""
        left, found = set(missing), dict[str, Item]()
        high = at
        while left and high >= (first := self._log.first_offset):
            low = max(first - 1, high - WINDOW_OFFSETS)
            newest = await self._workers.run(self._read_last, left, low, high)
            found |= newest
            left -= newest.keys()
            high = low
        if left:
            first = self._log.first_offset
            oldest = max(missing[key].offset for key in left)
            raise _truncated(f"what key {min(left)!r} was at offset {at}", first, oldest)
        return found

    def _read_last(self, keys: Collection[str], after: int, until: int) -> dict[str, Item]:
        """What the last records in ``after`` < offset <= ``until`` made of the keys."""
        names = {key: key.encode() for key in keys}
        wanted = _Wanted.of_key(next(iter(keys))) if len(names) == 1 else _Wanted("", None, None)
        found: dict[str, Item] = {}
        while after < until:
            try:
                read = self._log.read(after, bytes_max=PIECE_BYTES, until=until)
            except OffsetTruncated as error:
                after = error.first_offset - 1
                continue
            if not read:
                break
            for each in read:
                record = wanted.change(each.payload)
                if isinstance(record, KeyWritten) and record.key in names:
                    found[record.key] = Item(
                        record.key, record.value, record.revision, each.offset, record.expires_at_ms
                    )
                elif record is not None:
                    # It was there at the end: what wrote it comes behind this.
                    found.pop(record.key, None)
            after = read[-1].offset
        return found


@attrs.define
class _Wanted:
    """Which keys: those with a prefix, above ``after`` and up to ``horizon``; or ``only`` one."""

    prefix: str
    after: str | None
    horizon: str | None
    only: bool = False
    _bytes: bytes = attrs.field(init=False)

    @_bytes.default
    def _encoded(self) -> bytes:
        return self.prefix.encode()

    @classmethod
    def of_key(cls, key: str) -> "_Wanted":
        """One key."""
        return cls(key, None, key, only=True)

    def change(self, payload: bytes) -> Change | None:
        """What the payload says of such a key, if it does."""
        # Most records are of other keys: their bytes tell, without being decoded.
        if not records.is_of_a_key(payload) or self._bytes not in payload:
            return None
        record = records.decode(payload)
        assert isinstance(record, KeyWritten | KeyDeleted)
        key = record.key
        if not key.startswith(self.prefix) or (self.after is not None and key <= self.after):
            return None
        return None if self.horizon is not None and key > self.horizon else record

    def narrow(self, changed: dict[str, _First]) -> None:
        """Forget the upper half of the keys, and end below them."""
        keys = sorted(changed)
        self.horizon = keys[len(keys) // 2]
        for key in keys[len(keys) // 2 + 1 :]:
            del changed[key]


def _truncated(what: str, first_offset: int, oldest: int) -> PastTruncated:
    return PastTruncated(
        f"{what} is not in the log any more, which begins at offset {first_offset}: the oldest "
        f"offset that can be answered is {oldest}",
        first_offset,
        oldest,
    )
