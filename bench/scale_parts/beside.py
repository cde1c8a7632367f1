"""What goes on beside a load: searches of what was written last, and looks at server and memory."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.load.process import Server
from bench.scale_parts.made import Made, unit
from bench.vector_parts import ours
from bench.vector_parts.wire import Connection

SEARCH_PAUSE = 0.1
EXACT_PAUSE = 5.0
WATCH_PAUSE = 0.5
EXACTLY = 0.9999
"""The score of a vector with itself, float32, is no less."""


class Beside:
    """Two threads beside a load; the loader says how many rows were ``acknowledged``."""

    def __init__(self, server: Server, name: str, made: Made) -> None:
        self.acknowledged = 0
        self.loading = True
        self.stopping = False
        self._server = server
        self._name = name
        self._made = made
        self._taken: list[float] = []
        self._taken_loading: list[float] = []
        self._not_found = 0
        self._recalls: list[float] = []
        self._tails: list[int] = []
        self._memory: list[dict[str, float]] = []

    def search(self) -> None:
        """Search until the load is over."""
        random = np.random.default_rng(1)
        exact_at = time.monotonic() + EXACT_PAUSE
        with Connection(self._server) as connection:
            while not self.stopping:
                if self.acknowledged:
                    self._newest(connection, self.acknowledged - 1)
                query = self._made.queries[random.integers(len(self._made.queries))]
                ids = self._search(connection, query)
                if time.monotonic() > exact_at and self.acknowledged:
                    self._compare(connection, query, ids)
                    exact_at = time.monotonic() + EXACT_PAUSE
                time.sleep(SEARCH_PAUSE)

    def watch(self) -> None:
        """Look at the tail and the memory until the load is over."""
        while not self.stopping:
            self._tails.append(ours.look(self._server, self._name)["tail"])
            self._memory.append(resident(self._server))
            time.sleep(WATCH_PAUSE)

    def figures(self) -> dict[str, float]:
        """What was seen."""
        during = self._taken_loading or [0.0]
        p50, p99 = np.percentile(during, (50, 99))
        return {
            "searches": float(len(self._taken)),
            "not_found": float(self._not_found),
            "search_p50_ms": float(p50),
            "search_p99_ms": float(p99),
            "search_max_ms": max(self._taken),
            "recall_meanwhile": float(np.mean(self._recalls)) if self._recalls else float("nan"),
            "tail_max": float(max(self._tails)),
            "anonymous_max": max(each["anonymous"] for each in self._memory),
            "resident_max": max(sum(each.values()) for each in self._memory),
            "anonymous": self._memory[-1]["anonymous"],
            "mapped": self._memory[-1]["mapped"],
        }

    def _newest(self, connection: Connection, row: int) -> None:
        vector = unit(self._made.base[row : row + 1].astype(np.float32))[0]
        request = ours.raw_search(self._name, vector)
        began = time.monotonic()
        hits = json.loads(connection.ask(request))["hits"]
        self._note(began)
        scores = {hit["id"]: hit["score"] for hit in hits}
        if scores.get(str(row), 0.0) < EXACTLY:
            self._not_found += 1

    def _search(self, connection: Connection, query: Any) -> list[str]:
        began = time.monotonic()
        ids = ours.hits(connection.ask(ours.raw_search(self._name, query)))
        self._note(began)
        return ids

    def _compare(self, connection: Connection, query: Any, ids: list[str]) -> None:
        """With all rows looked at. More were written since: newer ones do not count as missed."""
        exact = ours.hits(connection.ask(ours.raw_search(self._name, query, exact="true")))
        newest = max(map(int, ids), default=0)
        wanted = [each for each in exact if int(each) <= newest]
        if wanted:
            self._recalls.append(len(set(wanted).intersection(ids)) / len(wanted))

    def _note(self, began: float) -> None:
        taken = (time.monotonic() - began) * 1e3
        self._taken.append(taken)
        if self.loading:
            self._taken_loading.append(taken)


def resident(server: Server) -> dict[str, float]:
    """Resident bytes: a process's own, and pages of files it has mapped."""
    found = {}
    names = {"RssAnon": "anonymous", "RssFile": "mapped"}
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in names:
            found[names[name]] = float(value.split()[0]) * 1024
    return found
