import pytest

from kissvdb.metrics import (
    MAILBOX_DEPTH,
    SSE_CLIENTS,
    VIEW_APPLIED_OFFSET,
    Histogram,
    Metrics,
)


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


@pytest.mark.parametrize(
    "name", ["state_put_total", "state_delete_total", "vector_ops_total", "events_total"]
)
def test_the_seeds_counters_keep_their_names_and_types_beside_ours(name):
    metrics = Metrics()
    getattr(metrics, name).inc()
    getattr(metrics, name).inc(2)
    for each in (name, f"kissvdb_{name}"):
        assert f"# TYPE {each} counter" in lines(metrics)
        assert f"{each} 3.0" in lines(metrics)


def test_sse_clients_is_a_gauge_that_is_there_before_anybody_registers():
    page = lines(Metrics())
    for name in ("sse_clients", "kissvdb_sse_clients"):
        assert f"# TYPE {name} gauge" in page
        assert f"{name} 0.0" in page


def test_every_metric_has_our_prefix_but_for_the_seeds_names_and_those_of_any_process():
    names = {line.split()[2] for line in lines(Metrics()) if line.startswith("# TYPE ")}
    others = {name for name in names if not name.startswith(("kissvdb_", "process_"))}
    assert others == {
        *("state_put_total", "state_delete_total", "vector_ops_total", "events_total"),
        "sse_clients",
    }
    assert {f"kissvdb_{name}" for name in others} <= names


def test_gauges_are_read_when_scraped():
    metrics, clients = Metrics(), [0]
    metrics.watch(SSE_CLIENTS, lambda: len(clients))
    metrics.watch(MAILBOX_DEPTH, lambda: 7, "LogWriter")
    metrics.watch(VIEW_APPLIED_OFFSET, lambda: 41, "state-0")
    assert "sse_clients 1.0" in lines(metrics)
    clients.append(1)
    page = lines(metrics)
    assert "sse_clients 2.0" in page
    assert "kissvdb_sse_clients 2.0" in page
    assert 'kissvdb_mailbox_depth{actor="LogWriter"} 7.0' in page
    assert 'kissvdb_view_applied_offset{view="state-0"} 41.0' in page


def test_requests_are_counted_by_route_and_class_of_status():
    metrics = Metrics()
    route = metrics.route("GET /v1/state/{key}")
    route.observe(200, 0.0002)
    route.observe(200, 0.0002)
    route.observe(404, 3.0)
    page = lines(metrics)
    labels = 'route="GET /v1/state/{key}",status='
    assert f'kissvdb_http_requests_total{{{labels}"2xx"}} 2.0' in page
    assert f'kissvdb_http_requests_total{{{labels}"4xx"}} 1.0' in page
    assert f'kissvdb_http_request_seconds_count{{{labels}"2xx"}} 2.0' in page
    assert f'kissvdb_http_request_seconds_sum{{{labels}"4xx"}} 3.0' in page


def test_a_bucket_holds_its_upper_bound_and_the_last_one_everything():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert histogram.total == 14.0


def test_two_servers_in_one_process_do_not_mix():
    one, other = Metrics(), Metrics()
    one.events_total.inc()
    assert "events_total 1.0" in lines(one)
    assert "events_total 0.0" in lines(other)


def test_a_gauge_without_its_labels_is_a_bug():
    with pytest.raises(AssertionError, match="actor"):
        Metrics().watch(MAILBOX_DEPTH, lambda: 0)
