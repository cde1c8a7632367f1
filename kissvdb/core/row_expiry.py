"""Which rows' time has come, in the order it comes."""

import heapq

import numpy as np
import numpy.typing as npt


class Expiries:
    """Expiry times of rows: those opened, sorted once, then a heap of those added since.

    One thread. A row that is replaced or deleted stays in here until its time: whoever is handed
    it knows that it is dead.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.integer] | None = None,
        expires_at_ms: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """``rows`` [n] and their times [n], in any order."""
        self._times: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._rows: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._next = 0
        self._heap: list[tuple[int, int]] = []
        if rows is not None and expires_at_ms is not None:
            order = np.lexsort((rows, expires_at_ms))
            self._times = expires_at_ms[order]
            self._rows = rows[order].astype(np.int64)

    def __len__(self) -> int:
        """How many times are still to come."""
        return len(self._times) - self._next + len(self._heap)

    def add(self, row: int, expires_at_ms: int) -> None:
        """Note a row's time."""
        heapq.heappush(self._heap, (expires_at_ms, row))

    def due(self, now_ms: int) -> list[int]:
        """Take out the rows whose time is ``now_ms`` or before."""
        stop = int(np.searchsorted(self._times, now_ms, side="right"))
        rows: list[int] = self._rows[self._next : stop].tolist()
        self._next = max(stop, self._next)
        while self._heap and self._heap[0][0] <= now_ms:
            rows.append(heapq.heappop(self._heap)[1])
        return rows
