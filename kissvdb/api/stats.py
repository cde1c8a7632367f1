"""What the server counts and measures, as JSON: a glance for people, where /v1/metrics is for
Prometheus. Made of the same numbers, in some 0.1 ms, so that it may be asked for every second."""

import os
import time
from collections.abc import Iterable

import attrs
import msgspec

from kissvdb import metrics as names
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.metrics import LATENCY_SECONDS, Histogram, Metrics
from kissvdb.version import VERSION

_PRIVATE = (("cache-control", "no-store"),)


@attrs.frozen
class Times:
    """Times since the start: how many, their sum, and how many were at most each of ``bounds``
    (seconds) and more than the one before; the last of ``counts`` is beyond all."""

    count: int
    seconds: float
    bounds: list[float]
    counts: list[int]


@attrs.frozen
class RouteStats:
    """Requests of one route, errors (4xx, 5xx) among them."""

    route: str
    count: int
    errors: int
    seconds: float


@attrs.frozen
class Recovery:
    """What recovery is doing, how far it is and how far it goes (offsets or bytes)."""

    doing: str
    done: int
    total: int


@attrs.frozen
class ProcessStats:
    """Of the process. ``resident_bytes`` 0: it is not told here."""

    resident_bytes: int
    cpu_seconds: float


@attrs.frozen
class Stats:
    """All since the start of the process, so that two answers make a rate. ``recovery`` is null
    once the database is ready."""

    version: str
    now_ms: int
    started_at_ms: int
    ready: bool
    recovery: Recovery | None
    offset: int
    epoch: str
    log_bytes: int
    state_puts: int
    state_deletes: int
    vector_ops: int
    events: int
    streams: int
    stream_lag_events: int
    requests: list[RouteStats]
    request_seconds: Times
    fsync_seconds: Times
    logged_records: int
    mailboxes: dict[str, int]
    process: ProcessStats


def stats(context: Context, request: Request) -> Response:
    database, found = context.database, context.metrics
    answer = Stats(
        VERSION,
        round(time.time() * 1000),
        round(found.started_at_secs * 1000),
        database.ready,
        None if database.ready else Recovery(*found.recovery),
        database.last_offset,
        database.epoch,
        _sum(found, names.LOG_BYTES),
        found.state_put_total.value,
        found.state_delete_total.value,
        found.vector_ops_total.value,
        found.events_total.value,
        _sum(found, names.SSE_CLIENTS),
        _sum(found, names.SSE_LAG),
        _by_route(found),
        _times(histogram for _, _, histogram in found.requests()),
        _times([found.log_fsync_seconds]),
        round(found.log_batch_records.total),
        {labels[0]: round(depth) for labels, depth in found.gauge(names.MAILBOX_DEPTH).items()},
        ProcessStats(_resident_bytes(), time.process_time()),
    )
    return Response(msgspec.json.encode(answer), headers=_PRIVATE)


def _sum(found: Metrics, gauge: str) -> int:
    return round(sum(found.gauge(gauge).values()))


def _by_route(found: Metrics) -> list[RouteStats]:
    by_route: dict[str, tuple[int, int, float]] = {}
    for name, status_class, histogram in found.requests():
        count, errors, seconds = by_route.get(name, (0, 0, 0.0))
        more = histogram.count if status_class >= 4 else 0
        by_route[name] = (count + histogram.count, errors + more, seconds + histogram.total)
    return [RouteStats(name, *each) for name, each in by_route.items()]


def _times(histograms: Iterable[Histogram]) -> Times:
    counts, seconds = [0] * (len(LATENCY_SECONDS) + 1), 0.0
    for histogram in histograms:
        counts = [sum(pair) for pair in zip(counts, histogram.counts, strict=True)]
        seconds += histogram.total
    return Times(sum(counts), seconds, list(LATENCY_SECONDS), counts)


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
