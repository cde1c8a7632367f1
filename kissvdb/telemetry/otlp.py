"""Spans sent to a collector by OTLP over HTTP, in batches, by the SDK's own thread.

The only module that needs the extra ``otel``. Where the standard variables are set
(``OTEL_EXPORTER_OTLP_HEADERS``, ``_CERTIFICATE``, ``_TIMEOUT``, ``OTEL_SERVICE_NAME``,
``OTEL_RESOURCE_ATTRIBUTES``), the SDK goes by them.
"""

import random
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from kissvdb.telemetry.tracer import Finished
from kissvdb.version import VERSION

WAITING_MAX = 4096
"""Spans that wait to be sent, about 4 MB; those of later requests are dropped."""
BATCH_SPANS = 512
DELAY_MS = 1000.0
"""How long a span waits for others."""
PATH = "/v1/traces"

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("kissvdb", VERSION)
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


class OtlpSender:
    """See `tracer.Sender`. ``endpoint``: of the collector, such as http://127.0.0.1:4318; empty:
    what the variables say, or the SDK's own."""

    def __init__(self, endpoint: str = "") -> None:
        self._exporter = _Counting(OTLPSpanExporter(_traces_of(endpoint)))
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=WAITING_MAX,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=BATCH_SPANS,
        )
        self._resource = _resource()
        self._random = random.Random()
        self._sent = 0
        self._dropped = 0

    @property
    def lost(self) -> int:
        return self._dropped + self._exporter.failed

    def send(self, finished: Finished) -> None:
        count = 1 + len(finished.parts)
        # The SDK's queue would drop the oldest of other requests, and say so for each.
        if self._sent - self._exporter.taken + count > WAITING_MAX:
            self._dropped += count
            return
        self._sent += count
        place = finished.place
        context = SpanContext(place.trace_id, place.span_id, False, _SAMPLED)
        parent = None
        if place.parent_id:
            parent = SpanContext(place.trace_id, place.parent_id, place.is_remote, _SAMPLED)
        processor = self._processor
        for name, began_ns, ended_ns in finished.parts:
            own = SpanContext(place.trace_id, self._random.getrandbits(64) or 1, False, _SAMPLED)
            processor.on_end(
                ReadableSpan(
                    name,
                    own,
                    context,
                    self._resource,
                    start_time=began_ns,
                    end_time=ended_ns,
                    instrumentation_scope=_SCOPE,
                )
            )
        processor.on_end(
            ReadableSpan(
                finished.name,
                context,
                parent,
                self._resource,
                dict(finished.attributes),
                kind=SpanKind.SERVER,
                status=_ERROR if finished.failed else _UNSET,
                start_time=finished.began_ns,
                end_time=finished.ended_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _Counting(SpanExporter):
    """Counts what the SDK's thread took out of its queue, and what became of it."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        # Written by that thread only.
        self.taken = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.taken += len(spans)
            if result is not SpanExportResult.SUCCESS:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _traces_of(endpoint: str) -> str | None:
    """Where a collector takes traces; None: the SDK is to say where."""
    if not endpoint:
        return None
    endpoint = endpoint.rstrip("/")
    return endpoint if endpoint.endswith(PATH) else endpoint + PATH


def _resource() -> Resource:
    """This server, as the variables name it."""
    found = Resource.create({SERVICE_VERSION: VERSION})
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "kissvdb"}))
    return found
