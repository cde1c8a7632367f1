"""Which rows a reader can see: not the dead, and not those whose time has come."""

import heapq
from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt

from kissvdb.core.store.guard import RowGuard
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.space import RowData
from kissvdb.core.store.tombstones import Tombstones, TombstoneView

_MANY = 16


class Expiries:
    """Expiry times of rows: those opened, sorted once, then a heap of those added since.

    One thread. A row that is replaced or deleted stays in here until its time: whoever is handed
    it knows that it is dead.
    """

    def __init__(self, rows: npt.NDArray[np.int64], expires_at_ms: npt.NDArray[np.int64]) -> None:
        """``rows`` [n] and their times [n], in any order."""
        order = np.lexsort((rows, expires_at_ms))
        self._times = expires_at_ms[order]
        self._rows = rows[order]
        self._next = 0
        self._heap: list[tuple[int, int]] = []

    def add(self, row: int, expires_at_ms: int) -> None:
        """Note a row's time."""
        heapq.heappush(self._heap, (expires_at_ms, row))

    def is_due(self, now_ms: int) -> bool:
        """Whether `due` would have something, by a look from any thread."""
        times, next_, heap = self._times, self._next, self._heap
        return bool(
            (next_ < len(times) and times[next_] <= now_ms) or (heap and heap[0][0] <= now_ms)
        )

    def due(self, now_ms: int) -> list[int]:
        """Take out the rows whose time is ``now_ms`` or before."""
        stop = max(int(np.searchsorted(self._times, now_ms, side="right")), self._next)
        rows: list[int] = self._rows[self._next : stop].tolist()
        self._next = stop
        while self._heap and self._heap[0][0] <= now_ms:
            rows.append(heapq.heappop(self._heap)[1])
        return rows


class Visibility:
    """The dead rows, as the log has it, and the hidden ones, which readers do not see.

    Hidden are the dead and the overdue: rows whose time has come, but whose end is not in the log
    yet. One thread.
    """

    def __init__(self, dead: Tombstones, data: RowData) -> None:
        """``data``: the rows there are, with their times."""
        self._dead = dead
        self._hidden = Tombstones.from_arrays(dead.view().to_arrays())
        times = data.expires_at_ms[: data.count]
        expiring = np.flatnonzero(times)
        self._expiries = Expiries(expiring, times[expiring])
        self._overdue: dict[int, str] = {}

    @property
    def dead_count(self) -> int:
        """How many rows are dead."""
        return len(self._dead)

    def dead(self) -> TombstoneView:
        """The dead rows as of now."""
        return self._dead.view()

    def hidden(self) -> TombstoneView:
        """The hidden rows as of the last ``pass_time``."""
        return self._hidden.view()

    def bury(self, row: int | None) -> None:
        """The row, if there is one, is dead from now on."""
        if row is not None:
            self._dead.bury(row)
            self._hidden.bury(row)
            self._overdue.pop(row, None)

    def bury_all(self, rows: Iterable[int | None]) -> None:
        """`bury` each."""
        there = [row for row in rows if row is not None]
        if len(there) < _MANY:
            for row in there:
                self.bury(row)
            return
        numbers = np.array(there, np.int64)
        self._dead.bury_all(numbers)
        self._hidden.bury_all(numbers)
        if self._overdue:
            for row in there:
                self._overdue.pop(row, None)

    def expire(self, row: int, expires_at_ms: int) -> None:
        """Note when a row's time comes."""
        self._expiries.add(row, expires_at_ms)

    def is_due(self, now_ms: int) -> bool:
        """Whether `pass_time` may hide something, by a look from any thread."""
        return self._expiries.is_due(now_ms)

    def pass_time(self, now_ms: int, ids: IdMap) -> bool:
        """Hide the living rows whose time has come; answers whether there were any."""
        changed = False
        if not self._expiries.is_due(now_ms):
            return changed
        for row in self._expiries.due(now_ms):
            id_ = ids.id_at(row)
            if ids.get(id_) == row:
                self._overdue[row] = id_
                changed |= self._hidden.bury(row)
        return changed

    def overdue(self, limit: int, guard: RowGuard | None) -> list[str]:
        """Ids of overdue rows, at most ``limit``, without those that ``guard`` knows as damaged."""
        due = self._overdue.items()
        ids = (id_ for row, id_ in due if guard is None or not guard.is_damaged(row))
        return list(islice(ids, limit))
