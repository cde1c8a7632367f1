"""`[telemetry]`: a request becomes spans for a collector; nothing, while it is off."""

import sys
import threading

import pytest
import trio

from kissvdb.config import Storage, Telemetry
from kissvdb.daemon import running
from kissvdb.errors import ConfigError
from kissvdb.telemetry import traceparent
from tests.api.collector import collecting
from tests.api.wire import configured, door
from tests.patience import PATIENCE_SECS

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
SERVER = 2
WRITE = ["queue", "decide", "append", "fsync", "apply"]
ROUTE = "/v1/state/{key}"


@pytest.fixture
def collector():
    with collecting() as found:
        yield found


def traced(collector, lane=True, **sections):
    telemetry = Telemetry(otlp_endpoint=collector.url, **sections.pop("telemetry", {}))
    return configured(lane, telemetry=telemetry, **sections)


def check_inside(outer, parts):
    """The parts come one after the other, within the request."""
    moments = [outer.began]
    for each in parts:
        assert each.trace_id == outer.trace_id
        moments += [each.began, each.ended]
    assert moments == sorted(moments)
    # Two clocks: one is asked once, when the request ends.
    assert moments[-1] <= outer.ended


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])
async def test_a_write_is_a_span_below_its_callers_with_its_parts_in_order(
    collector, lane, tmp_path
):
    config = traced(collector, lane, storage=Storage(data_dir=str(tmp_path / "data")))
    async with door(config) as server:
        answer = await server.http.put(
            "/v1/state/secret-name", json={"value": "secret-value"}, headers=SAMPLED
        )
        assert answer.status_code == 200, answer.text
    # The stop of the server sent what waited.
    request = collector.named(f"PUT {ROUTE}")
    assert (request.trace_id, request.parent_id, request.kind) == (TRACE, CALLER, SERVER)
    assert request.service == "kissvdb"
    assert request.attributes == {
        "http.request.method": "PUT",
        "http.route": ROUTE,
        "http.response.status_code": 200,
        "kissvdb.request_id": answer.headers["x-request-id"],
    }
    parts = collector.below(request)
    assert [each.name for each in parts] == WRITE
    check_inside(request, parts)
    assert set(collector.paths) == {"/v1/traces"}
    assert not any(b"secret" in body for body in collector.bodies)


async def test_reads_searches_and_refusals_are_spans_too(collector):
    async with door(traced(collector)) as server:
        http = server.http
        vector = {"id": "a", "vector": [1.0, 0.0]}
        assert (await http.post("/v1/vector/v", json={"dim": 2})).status_code < 300
        assert (await http.post("/v1/vector/v/upsert", json=vector)).status_code == 200
        asked = {"vector": [1.0, 0.0], "k": 1}
        found = await http.post("/v1/vector/v/search", json=asked, headers=SAMPLED)
        assert found.json()["hits"][0]["id"] == "a"
        await http.put("/v1/doc/d/1", json={"text": "palabras"})
        hits = await http.post("/v1/doc/d/search", json={"text": "palabras"})
        assert len(hits.json()["hits"]) == 1, hits.text
        await http.post("/v1/sql/query", json={"sql": "SELECT 1"})
        await http.get("/v1/state/none")
        await http.get("/v1/no-such-route")
    search = collector.named("POST /v1/vector/{collection}/search")
    assert (search.trace_id, search.parent_id) == (TRACE, CALLER)
    assert [each.name for each in collector.below(search)] == ["search"]
    check_inside(search, collector.below(search))
    words = collector.named("POST /v1/doc/{collection}/search")
    assert [each.name for each in collector.below(words)] == ["search"]
    assert words.parent_id == ""
    upsert = collector.named("POST /v1/vector/{collection}/upsert")
    assert [each.name for each in collector.below(upsert)] == WRITE
    sql = collector.named("POST /v1/sql/query")
    assert {each.name for each in collector.below(sql)} == {"query"}
    missing = collector.named(f"GET {ROUTE}")
    assert missing.attributes["http.response.status_code"] == 404
    assert not missing.failed
    nowhere = collector.named("GET")
    assert "http.route" not in nowhere.attributes


async def test_commands_in_one_append_share_it(collector, tmp_path):
    config = traced(collector, storage=Storage(data_dir=str(tmp_path / "data")))
    count = 40
    async with door(config) as server:

        async def write(n):
            await server.http.put(f"/v1/state/k{n}", json={"value": n})

        async with trio.open_nursery() as writers:
            for n in range(count):
                writers.start_soon(write, n)
    writes = [each for each in collector.spans if each.name == f"PUT {ROUTE}"]
    assert len(writes) == count
    for each in writes:
        parts = collector.below(each)
        assert [part.name for part in parts] == WRITE
        check_inside(each, parts)


async def test_a_batch_over_several_owners_and_sql_have_their_parts(collector):
    async with door(traced(collector)) as server:
        await server.http.post("/v1/vector/v", json={"dim": 1})
        operations = [
            {"op": "put", "key": "k", "value": 1},
            {"op": "upsert", "collection": "v", "id": "a", "vector": [1.0]},
        ]
        answer = await server.http.post("/v1/batch", json={"operations": operations})
        assert answer.status_code == 200, answer.text
        done = await server.http.post("/v1/sql/exec", json={"sql": "CREATE TABLE t(x)"})
        assert done.status_code == 200, done.text
    batch = collector.below(collector.named("POST /v1/batch"))
    assert [each.name for each in batch] == WRITE[1:]
    assert [each.name for each in collector.below(collector.named("POST /v1/sql/exec"))] == WRITE


async def test_what_its_caller_does_not_sample_is_not_sent(collector):
    config = traced(collector, telemetry={"sample_percent": 0})
    async with door(config) as server:
        await server.http.get("/v1/state/k")
        off = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
        await server.http.get("/v1/state/k", headers=off)
        await server.http.get("/v1/health", headers=SAMPLED)
    assert [each.name for each in collector.spans] == ["GET /v1/health"]


async def test_spans_that_nobody_takes_are_counted_and_hold_up_nothing():
    # 400 is not tried again.
    with collecting(status=400) as collector:
        async with door(traced(collector)) as server:
            await server.http.get("/v1/state/k")
            await collector.wait_for(1)
            quiet = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
            with trio.fail_after(PATIENCE_SECS):
                text = ""
                while "kissvdb_telemetry_lost_spans 1.0" not in text:
                    text = (await server.http.get("/v1/metrics", headers=quiet)).text
            assert (await server.http.get("/v1/health")).status_code == 200


def test_what_does_not_fit_is_dropped_and_counted(monkeypatch):
    from kissvdb.telemetry import otlp
    from kissvdb.telemetry.parts import Parts
    from kissvdb.telemetry.tracer import Tracer

    held = threading.Event()

    def export(self, spans):
        held.wait()
        return otlp.SpanExportResult.SUCCESS

    monkeypatch.setattr(otlp.OTLPSpanExporter, "export", export)
    tracer = Tracer(otlp.OtlpSender("http://127.0.0.1:1"))
    for _ in range(otlp.WAITING_MAX + 10):
        parts = Parts()
        tracer.begin(parts, None)
        tracer.end(parts, "GET", {}, failed=False)
    lost = tracer.lost
    held.set()
    tracer.close()
    assert lost == 10
    assert tracer.lost == 10


async def test_when_it_is_off_nothing_is_sent_and_nothing_is_noted(collector, monkeypatch):
    from kissvdb.telemetry import parts

    made = []
    monkeypatch.setattr(parts.Parts, "add", lambda self, *mark: made.append(mark))
    async with door(configured(True, storage=Storage(memory=True))) as server:
        await server.http.put("/v1/state/k", json={"value": 1}, headers=SAMPLED)
        await server.http.get("/v1/state/k", headers=SAMPLED)
        assert not any(each.name.startswith("OtelBatch") for each in threading.enumerate())
    assert made == []
    assert collector.spans == []


async def test_without_its_packages_the_server_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "kissvdb.telemetry.otlp", raising=False)
    config = configured(telemetry=Telemetry(enabled=True))
    with pytest.raises(ConfigError, match=r"pip install 'kissvdb\[otel\]'"):
        async with running(config):
            pass


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{CALLER}-01", True),
        (f"00-{TRACE}-{CALLER}-00", False),
        (f"cc-{TRACE}-{CALLER}-01-what-comes-later", True),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(header, found):
    read = traceparent.read(header)
    assert read == (None if found is None else (int(TRACE, 16), int(CALLER, 16), found))
