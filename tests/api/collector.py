"""A collector of traces: an HTTP server that takes OTLP, and keeps what it took."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import trio

from tests.patience import PATIENCE_SECS


@attrs.frozen
class Span:
    """One as it came over the wire. Ids are hexadecimal, times nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    began: int
    ended: int
    failed: bool
    attributes: dict
    service: str


class Collector:
    """``status``: what it answers."""

    def __init__(self, url, status):
        self.url = url
        self.status = status
        self.bodies = []
        self.paths = []
        self.spans = []

    def take(self, path, body):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        found = ExportTraceServiceRequest.FromString(body)
        self.paths.append(path)
        self.bodies.append(body)
        for resource in found.resource_spans:
            of = plain(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [span_of(each, of["service.name"]) for each in scope.spans]

    async def wait_for(self, count):
        """Returns when so many spans came."""
        with trio.fail_after(PATIENCE_SECS):
            while len(self.spans) < count:  # noqa: ASYNC110
                await trio.sleep(0.02)

    def named(self, name):
        (found,) = [each for each in self.spans if each.name == name]
        return found

    def below(self, span):
        """The spans right below one, in the order in which they began."""
        found = [each for each in self.spans if each.parent_id == span.span_id]
        return sorted(found, key=lambda each: each.began)


def plain(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def span_of(span, service):
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == span.status.STATUS_CODE_ERROR,
        plain(span.attributes),
        service,
    )


@contextmanager
def collecting(status=200):
    """A collector on a free port for the length of the block."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}", status)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
