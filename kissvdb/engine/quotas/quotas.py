"""The quotas of all keys that have one.

What a scope holds is counted when the key is issued and at every start, and then changed with each
record that is installed. A count goes through the keys in their order, some at a time; a write
behind the place where it stands is seen by it, one before that place changes what was counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import trio

from kissvdb.core.grants import Grants
from kissvdb.core.quotas import NOTHING, Amount, Growth, KeyLimits, Ledger, key_bytes
from kissvdb.records import Item, KeyDeleted, KeyWritten

AT_ONCE = 500
"""So many keys are counted before others have their turn: about a millisecond."""


class Limited(Protocol):
    """What is asked of an issued key."""

    @property
    def limits(self) -> KeyLimits | None: ...

    @property
    def grants(self) -> Grants | None: ...


class KeysOfShard(Protocol):
    """What is asked of the view of a shard."""

    def get(self, key: str) -> Item | None: ...

    def scan(
        self, prefix: str, *, after: str | None, limit: int, now_ms: int
    ) -> tuple[list[Item], bool]: ...


class _Count:
    """A ledger that is being filled: shard by shard, and in each prefix by prefix."""

    def __init__(self, ledger: Ledger, views: Sequence[KeysOfShard]) -> None:
        self.ledger = ledger
        self._views = views
        self._shard = 0
        self._start = 0
        self._after: str | None = None
        for name in ledger.scope.names:
            for view in views:
                ledger.used += _amount(view.get(name))

    def step(self) -> None:
        """Count some: at most AT_ONCE keys, or as many looks that find none."""
        ledger, starts = self.ledger, self.ledger.scope.starts
        left = AT_ONCE
        while self._shard < len(self._views) and starts and left > 0:
            # At the beginning of time nothing has expired: what has is there until it is swept.
            items, more = self._views[self._shard].scan(
                starts[self._start], after=self._after, limit=left, now_ms=0
            )
            left -= 1 + len(items)
            for item in items:
                ledger.used += _amount(item)
            self._after = items[-1].key if more else None
            if not more:
                self._start += 1
                if self._start == len(starts):
                    self._shard, self._start = self._shard + 1, 0
        ledger.ready = self._shard == len(self._views) or not starts

    def has_passed(self, shard: int, key: str) -> bool:
        """Whether the key was counted, or would have been if it had been there."""
        ledger = self.ledger
        if ledger.ready or key in ledger.scope.names:
            return True
        start = next(n for n, each in enumerate(ledger.scope.starts) if key.startswith(each))
        at = (self._shard, self._start)
        if (shard, start) != at:
            return (shard, start) < at
        return self._after is not None and key <= self._after


class Quotas:
    """Made with the database. Without a key that has a quota it costs a look."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._ledgers: tuple[Ledger, ...] = ()
        self._views: Sequence[KeysOfShard] = ()
        self._vectors: Callable[[], Iterator[tuple[str, Amount]]] = lambda: iter(())
        self._news = trio.Event()

    def open(
        self,
        views: Sequence[KeysOfShard],
        vectors: Callable[[], Iterator[tuple[str, Amount]]],
    ) -> None:
        """What is counted: the shards' keys, and what ``vectors`` tells of each collection."""
        self._views, self._vectors = views, vectors

    def refresh(self, keys: Mapping[str, Limited]) -> None:
        """These are the keys from now on, by id."""
        counts: dict[str, _Count] = {}
        for id_, key in keys.items():
            if key.limits is None or not key.limits.counts:
                continue
            known = self._counts.get(id_)
            if known is not None and known.ledger.grants == key.grants:
                known.ledger.limits = key.limits
                counts[id_] = known
            else:
                ledger = Ledger(key.limits, key.grants, self._amount_of_vectors)
                counts[id_] = _Count(ledger, self._views)
                # Most scopes hold little: they are counted before anybody asks.
                counts[id_].step()
        self._counts = counts
        self._ledgers = tuple(count.ledger for count in counts.values())
        news, self._news = self._news, trio.Event()
        news.set()

    async def run(self) -> None:
        """The task that counts what is large, until cancelled."""
        while True:
            news = self._news
            for count in [each for each in self._counts.values() if not each.ledger.ready]:
                while not count.ledger.ready:
                    count.step()
                    await trio.lowlevel.checkpoint()
            if news is self._news:
                await news.wait()

    @property
    def counts(self) -> bool:
        """Whether any key has one."""
        return bool(self._ledgers)

    def growth(self) -> Growth | None:
        """For a batch that is to be decided."""
        return Growth(self._ledgers) if self._ledgers else None

    def install(self, shard: int, view: KeysOfShard, records: Sequence[object]) -> None:
        """Records of a shard are about to be installed in its view."""
        if not self._ledgers:
            return
        sizes: dict[str, Amount] = {}
        for record in records:
            if isinstance(record, KeyWritten):
                new = Amount(1, key_bytes(record.key, record.value))
            elif isinstance(record, KeyDeleted):
                new = NOTHING
            else:
                continue
            key = record.key
            counts = [each for each in self._counts.values() if each.ledger.scope.has(key)]
            if not counts:
                continue
            old = sizes[key] if key in sizes else _amount(view.get(key))
            sizes[key] = new
            for count in counts:
                if count.has_passed(shard, key):
                    count.ledger.used += new - old

    def used(self, id_: str) -> Amount | None:
        """What the scope of a key holds; None: the key has no quota, or it is not known yet."""
        count = self._counts.get(id_)
        return count.ledger.total() if count is not None and count.ledger.ready else None

    def _amount_of_vectors(self, grants: Grants | None) -> Amount:
        found = NOTHING
        for name, amount in self._vectors():
            if grants is None or grants.may_vectors(name):
                found += amount
        return found


def _amount(item: Item | None) -> Amount:
    return NOTHING if item is None else Amount(1, key_bytes(item.key, item.value))
