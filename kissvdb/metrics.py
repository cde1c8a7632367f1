"""What the server counts and measures, in the Prometheus text format.

Counting happens on the hot path, so the numbers live in plain Python objects (about 0.3 us an
observation; prometheus_client's own locked ones take over 1 us) and become metric families only
when somebody scrapes. Everything here is written by one thread, the event loop's.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

import attrs
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Few, because every one is a line for each route at every scrape.
LATENCY_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.1, 0.5, 2.5, 10.0, 30.0),
)
BATCH_RECORDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

MAILBOX_DEPTH = "kissvdb_mailbox_depth"
SSE_CLIENTS = "kissvdb_sse_clients"
SSE_LAG = "kissvdb_sse_lag_events"
LOG_BYTES = "kissvdb_log_bytes"
LAST_OFFSET = "kissvdb_last_offset"
AUDIT_LOST = "kissvdb_audit_lost_events"
TELEMETRY_LOST = "kissvdb_telemetry_lost_spans"
VIEW_APPLIED_OFFSET = "kissvdb_view_applied_offset"
STATE_CACHE_BYTES = "kissvdb_state_cache_bytes"
STATE_COLD_READS = "kissvdb_state_cold_reads"
STATE_VALUE_BYTES = "kissvdb_state_value_bytes"
STATE_TABLE_WRITTEN_BYTES = "kissvdb_state_table_written_bytes"
STATE_WRITE_AMPLIFICATION = "kissvdb_state_write_amplification"
COLLECTION_VECTORS = "kissvdb_collection_vectors"
COLLECTION_DEAD_ROWS = "kissvdb_collection_dead_rows"
COLLECTION_TAIL_ROWS = "kissvdb_collection_tail_rows"
COLLECTION_BYTES = "kissvdb_collection_bytes"
COLLECTION_DAMAGED = "kissvdb_collection_damaged"
COLLECTION_UPKEEP = "kissvdb_collection_upkeep_done"
COLLECTION_RECALL = "kissvdb_collection_recall"
DOCUMENTS = "kissvdb_documents"
DOCUMENTS_DEAD_ROWS = "kissvdb_documents_dead_rows"
DOCUMENTS_BYTES = "kissvdb_documents_bytes"
DOCUMENTS_PENDING = "kissvdb_documents_pending"
DOCUMENTS_UPKEEP = "kissvdb_documents_upkeep_done"

# Names that dashboards of RustKissVDB ask for; the same numbers are under both.
SEEDS_NAMES = {SSE_CLIENTS: "sse_clients"}
PREFIX = "kissvdb_"

Read = Callable[[], float]


@attrs.frozen
class Gauge:
    """What a gauge means; its values are read from whoever registered with ``watch``."""

    documentation: str
    labels: tuple[str, ...] = ()


GAUGES = {
    MAILBOX_DEPTH: Gauge("Messages that wait in an actor's mailbox.", ("actor",)),
    SSE_CLIENTS: Gauge("Open event streams."),
    SSE_LAG: Gauge("Events between the newest one and the slowest stream's cursor."),
    LOG_BYTES: Gauge("Bytes of the event log's segments on disk."),
    LAST_OFFSET: Gauge("Offset of the last durable record."),
    AUDIT_LOST: Gauge("Audit events that could not be logged since the start."),
    TELEMETRY_LOST: Gauge("Spans that were dropped or that no collector took since the start."),
    VIEW_APPLIED_OFFSET: Gauge("Offset up to which a view has applied the log.", ("view",)),
    STATE_CACHE_BYTES: Gauge("Memory that hot keys take.", ("shard",)),
    STATE_COLD_READS: Gauge("Keys that were read from the table since the start.", ("shard",)),
    STATE_VALUE_BYTES: Gauge("Bytes of keys and values written since the start.", ("shard",)),
    STATE_TABLE_WRITTEN_BYTES: Gauge("Bytes written to the table's files for them.", ("shard",)),
    STATE_WRITE_AMPLIFICATION: Gauge("Bytes written to the table for each of them.", ("shard",)),
    COLLECTION_VECTORS: Gauge("Vectors that searches can find.", ("collection",)),
    COLLECTION_DEAD_ROWS: Gauge("Rows that wait for a vacuum.", ("collection",)),
    COLLECTION_TAIL_ROWS: Gauge("Rows that are not in the index yet.", ("collection",)),
    COLLECTION_BYTES: Gauge("Bytes of rows, codes and links.", ("collection",)),
    COLLECTION_DAMAGED: Gauge("1 when rows or files were found damaged, else 0.", ("collection",)),
    COLLECTION_UPKEEP: Gauge("Pieces of upkeep done since the start.", ("collection",)),
    COLLECTION_RECALL: Gauge("Recall that the last audit found; NaN before it.", ("collection",)),
    DOCUMENTS: Gauge("Documents that searches can find.", ("collection",)),
    DOCUMENTS_DEAD_ROWS: Gauge("Rows of documents that wait for a vacuum.", ("collection",)),
    DOCUMENTS_BYTES: Gauge("Bytes of the rows of documents.", ("collection",)),
    DOCUMENTS_PENDING: Gauge("Changes that are not in the rows yet.", ("collection",)),
    DOCUMENTS_UPKEEP: Gauge("Pieces of upkeep done since the start.", ("collection",)),
}


class Counter:
    """A number that only rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        self.value += amount


class Histogram:
    """Counts of observations per bucket; ``bounds`` are inclusive upper bounds, ascending."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of ``counts``, but for the last, which has none."""
        return self._bounds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, observations at most that), as the text format wants them."""
        buckets, seen = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            seen += count
            buckets.append((repr(bound).replace("inf", "+Inf"), float(seen)))
        return buckets


class RouteMetrics:
    """One route's latency in seconds, a histogram for each status class (1xx .. 5xx)."""

    __slots__ = ("by_class",)

    def __init__(self) -> None:
        self.by_class: list[Histogram | None] = [None] * 6

    def observe(self, status: int, seconds: float) -> None:
        histogram = self.by_class[status // 100]
        if histogram is None:
            histogram = self.by_class[status // 100] = Histogram(LATENCY_SECONDS)
        # As `Histogram.observe`: on the way of every request a call is worth saving.
        histogram.counts[bisect_left(LATENCY_SECONDS, seconds)] += 1
        histogram.total += seconds


class Metrics:
    """All metrics of one server, with a registry of its own: two servers in a process do not mix.

    What the seed counted is there under its names and, like all others, with our prefix.
    Whoever makes state changes and events durable counts them in ``state_put_total``,
    ``state_delete_total`` (expiry included), ``vector_ops_total`` and ``events_total`` (every
    event, the database's own ones included).
    """

    def __init__(self) -> None:
        self.state_put_total = Counter()
        self.state_delete_total = Counter()
        self.vector_ops_total = Counter()
        self.events_total = Counter()
        self.log_fsync_seconds = Histogram(LATENCY_SECONDS)
        self.log_batch_records = Histogram(BATCH_RECORDS)
        self.started_at_secs = time.time()
        self.recovery = ("", 0, 0)
        """What recovery does, how far it is and how far it goes. Set by its thread as one."""
        self._refusals: dict[tuple[str, str], Counter] = {}
        self._routes: dict[str, RouteMetrics] = {}
        self._gauges: dict[str, dict[tuple[str, ...], Read]] = {name: {} for name in GAUGES}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def route(self, name: str) -> RouteMetrics:
        """The numbers of one route; ask once and keep it."""
        return self._routes.setdefault(name, RouteMetrics())

    def refusal(self, reason: str, role: str) -> Counter:
        """Requests refused for an error code, of a role: ``none`` without a valid key."""
        return self._refusals.setdefault((reason, role), Counter())

    def watch(self, gauge: str, read: Read, *labels: str) -> None:
        """Have ``read()`` called at every scrape. ``gauge`` is a key of GAUGES, ``labels`` the
        values of its labels; a second registration for the same labels replaces the first."""
        assert len(labels) == len(GAUGES[gauge].labels), f"{gauge} wants {GAUGES[gauge].labels}"
        self._gauges[gauge][labels] = read

    def forget(self, gauge: str, *labels: str) -> None:
        """Undo ``watch`` for these labels."""
        self._gauges[gauge].pop(labels, None)

    def gauge(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of a gauge now, by their labels."""
        return {labels: read() for labels, read in self._gauges[name].items()}

    def requests(self) -> Iterator[tuple[str, int, Histogram]]:
        """Every route that was asked for, with a class of status (2 for 2xx) and its times."""
        for name, route in self._routes.items():
            for status_class, histogram in enumerate(route.by_class):
                if histogram is not None:
                    yield name, status_class, histogram

    def render(self) -> bytes:
        """The page for ``GET /v1/metrics``, in CONTENT_TYPE."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's collector protocol."""
        yield from self._counters()
        yield from self._requests()
        yield _histogram(
            "kissvdb_log_fsync_seconds",
            "Time until a durable log write was seen to be done.",
            self.log_fsync_seconds,
        )
        yield _histogram(
            "kissvdb_log_batch_records", "Records in one durable write.", self.log_batch_records
        )
        yield from self._read_gauges()
        yield GaugeMetricFamily(
            "kissvdb_start_time_seconds", "Unix time of the start.", self.started_at_secs
        )

    def describe(self) -> list[Metric]:
        """Nothing to check at registration: the registry is ours alone."""
        return []

    def _read_gauges(self) -> Iterator[Metric]:
        for name, gauge in GAUGES.items():
            values = [(labels, read()) for labels, read in self._gauges[name].items()]
            if not gauge.labels and not values:
                values = [((), 0.0)]
            for each in (name, SEEDS_NAMES.get(name)):
                if each is None:
                    continue
                family = GaugeMetricFamily(each, gauge.documentation, labels=gauge.labels)
                for labels, value in values:
                    family.add_metric(labels, value)
                yield family

    def _counters(self) -> Iterator[Metric]:
        for name, text, counter in (
            ("state_put", "State keys written.", self.state_put_total),
            ("state_delete", "State keys deleted or expired.", self.state_delete_total),
            ("vector_ops", "Vector records written.", self.vector_ops_total),
            ("events", "Events streamed.", self.events_total),
        ):
            yield CounterMetricFamily(PREFIX + name, text, counter.value)
            yield CounterMetricFamily(name, text, counter.value)

    def _requests(self) -> Iterator[Metric]:
        labels = ("route", "status")
        totals = CounterMetricFamily(
            "kissvdb_http_requests", "Requests by route and class of status.", labels=labels
        )
        latency = HistogramMetricFamily(
            "kissvdb_http_request_seconds",
            "Time from the whole request to the answer (for a stream: to its start).",
            labels=labels,
        )
        for name, route in self._routes.items():
            for status_class, histogram in enumerate(route.by_class):
                if histogram is not None:
                    at = (name, f"{status_class}xx")
                    totals.add_metric(at, histogram.count)
                    latency.add_metric(at, histogram.cumulative(), histogram.total)
        yield totals
        yield latency
        refusals = CounterMetricFamily(
            "kissvdb_http_refusals",
            "Requests refused for who asked or how much, by error code and role.",
            labels=("reason", "role"),
        )
        for at, counter in self._refusals.items():
            refusals.add_metric(at, counter.value)
        yield refusals


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, documentation)
    family.add_metric((), histogram.cumulative(), histogram.total)
    return family
