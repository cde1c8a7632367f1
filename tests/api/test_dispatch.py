"""What holds for every route: one error shape, the key, CORS, ids, limits, metrics."""

from types import SimpleNamespace

import pytest
import trio

from actors import Reply
from kissvdb.api.dispatch import Api
from kissvdb.api.frame.http import Request, StreamResponse
from kissvdb.api.frame.route import Scope
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config, Limits, Server
from kissvdb.errors import InvalidArgument, Overloaded, PersistenceFailed
from kissvdb.metrics import SSE_CLIENTS, Metrics
from tests.api.caller import Caller, header, opened, reading, refused

KEY = "s3cret"


async def test_an_unknown_path_is_not_found(call: Caller):
    for path in ("/v1", "/v1/stat", "/v1/state/../x/../../y", "//", "*", "/v1/vectors", "/assets"):
        if not path.startswith("/v1/state/"):
            refused(await call("GET", path), 404, "not_found", path, "/docs")


async def test_a_wrong_method_names_the_right_ones(call: Caller):
    answer = await call("DELETE", "/v1/health")
    refused(answer, 405, "method_not_allowed", "GET")
    assert header(answer, "allow") == "GET, HEAD, OPTIONS"
    assert header(await call("TRACE", "/v1/events"), "allow") == "GET, HEAD, POST, OPTIONS"


async def test_head_is_get_without_a_body_of_its_own(call: Caller):
    await call("PUT", "/v1/state/k", {"value": 1})
    get, head = await call("GET", "/v1/state/k"), await call("HEAD", "/v1/state/k")
    assert (head.status, head.body) == (get.status, get.body)
    assert (await call("HEAD", "/v1/state/none")).status == 404


async def test_the_body_limit_is_a_413_that_names_the_setting():
    async with opened(limits=Limits(body_bytes_max=1024)) as call:
        answer = await call("PUT", "/v1/state/k", {"value": "x" * 1024})
        refused(answer, 413, "payload_too_large", "1024 bytes", "MAX_BODY_BYTES")


@pytest.mark.parametrize("request_id", ["abc", "A.b_c-9", "x" * 128])
async def test_a_sane_request_id_comes_back(call: Caller, request_id):
    answer = await call("GET", "/v1/health", x_request_id=request_id)
    assert header(answer, "x-request-id") == request_id


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "é", "a\nb", "<script>"])
async def test_any_other_request_id_is_replaced_by_a_new_one(call: Caller, request_id):
    answers = [await call("GET", "/nowhere", x_request_id=request_id) for _ in range(2)]
    first, second = (header(answer, "x-request-id") for answer in answers)
    assert first != second
    assert request_id not in (first, second)


@pytest.fixture
async def locked():
    """A caller on a server with an API key."""
    async with opened(server=Server(api_key=KEY)) as caller:
        yield caller


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY} "},
        {"x_api_key": KEY},
        {"authorization": f"Bearer {KEY}", "x_api_key": "wrong"},
    ],
)
async def test_the_key_opens(locked: Caller, headers):
    assert (await locked("GET", "/v1/state", **headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Basic {KEY}", "x_api_key": KEY},
        {"x_api_key": ""},
        {"x_api_key": "s3cre"},
        {"x_api_key": "é\xff"},
    ],
)
async def test_anything_else_does_not(locked: Caller, headers):
    answer = await locked("GET", "/v1/state", **headers)
    refused(answer, 401, "unauthorized", "x-api-key")
    assert header(answer, "www-authenticate") == "Bearer"
    assert KEY not in answer.body.decode()


async def test_an_event_source_sends_the_key_in_the_query(locked: Caller):
    assert (await locked("GET", f"/v1/state?api_key={KEY}")).status == 200
    refused(await locked("GET", "/v1/state?api_key=x"), 401, "unauthorized")
    refused(await locked("GET", f"/v1/state?api_key={KEY}", x_api_key="x"), 401, "unauthorized")


async def test_every_route_but_the_public_ones_needs_the_key(locked: Caller):
    for route in ROUTES:
        answer = await locked(route.method, route.path.replace("{", "").replace("...}", ""))
        assert (answer.status == 401) != (route.scope is Scope.PUBLIC), route


async def test_strangers_do_not_learn_which_paths_exist(locked: Caller):
    for method, path in (("GET", "/nowhere"), ("BREW", "/v1/state"), ("OPTIONS", "/nowhere")):
        refused(await locked(method, path), 401, "unauthorized")
    refused(await locked("GET", "/nowhere", x_api_key=KEY), 404, "not_found")


async def test_without_a_key_configured_any_token_is_ignored(call: Caller):
    assert (await call("GET", "/v1/state", authorization="Basic x")).status == 200


async def test_a_preflight_needs_no_key(locked: Caller):
    answer = await locked("OPTIONS", "/v1/state/k", origin="http://localhost:3000")
    assert (answer.status, answer.body) == (204, b"")
    assert header(answer, "access-control-allow-origin") == "http://localhost:3000"
    assert "PUT" in header(answer, "access-control-allow-methods").split(", ")
    for name in ("Authorization", "Content-Type", "If-Match", "Last-Event-ID", "X-Api-Key"):
        assert name in header(answer, "access-control-allow-headers").split(", ")


async def test_any_origin_may_read_the_headers_that_matter():
    async with opened(server=Server(cors_allowed_origins=("*",))) as call:
        for target in ("/v1/state", "/nowhere"):
            answer = await call("GET", target, origin="https://a.example")
            assert header(answer, "access-control-allow-origin") == "*"
            exposed = header(answer, "access-control-expose-headers").split(", ")
            assert {"ETag", "Kissvdb-Offset", "X-Request-Id", "Retry-After"} <= set(exposed)


async def test_configured_origins_are_the_only_ones():
    origins = ("https://a.example", "http://localhost:3000")
    async with opened(server=Server(cors_allowed_origins=origins)) as call:
        answer = await call("GET", "/v1/state", origin="https://a.example", host="localhost")
        assert header(answer, "access-control-allow-origin") == "https://a.example"
        assert header(answer, "vary") == "Origin"
        for origin in ("https://b.example", "https://a.example.evil", "null", "*"):
            answer = await call("GET", "/v1/state", origin=origin)
            assert header(answer, "access-control-allow-origin") is None
            assert header(answer, "vary") == "Origin"


async def test_a_bug_is_a_500_that_tells_no_secrets_but_the_log_does(call: Caller, caplog):
    call.metrics.watch(SSE_CLIENTS, lambda: 1 // 0)
    answer = await call("GET", "/v1/metrics")
    refused(answer, 500, "internal", "bug")
    assert "ZeroDivisionError" not in answer.body.decode()
    assert "ZeroDivisionError" in caplog.text


EVENT = Request("POST", "/v1/events", body=b'{"type":"log","data":1}')


class Elsewhere:
    """A database at the end of its strength: what the engine raises cannot be had on demand."""

    epoch = ""

    def __init__(self, failure=None):
        self.failure = failure
        self.keys = SimpleNamespace(view=SimpleNamespace(keys={}))

    def append_events(self, events):
        if self.failure is not None:
            raise self.failure
        return Reply()


@pytest.mark.parametrize(
    ("failure", "code", "retry_after"),
    [
        (Overloaded("full"), "overloaded", "1"),
        (PersistenceFailed("no space"), "persistence_error", "5"),
    ],
)
async def test_what_may_work_later_says_when(failure, code, retry_after):
    api = Api(Elsewhere(failure), Config(), Metrics())
    answer = await api.dispatch(EVENT)
    refused(answer, 503, code)
    assert header(answer, "retry-after") == retry_after


async def test_a_write_that_takes_too_long_is_a_408_that_says_it_may_have_happened(autojump_clock):
    api = Api(Elsewhere(), Config(server=Server(request_timeout_secs=7)), Metrics())
    answer = await api.dispatch(EVENT)
    refused(answer, 408, "timeout", "7 s", "may or may not have happened", "GET")


async def test_a_door_may_keep_the_time_itself(autojump_clock):
    api = Api(Elsewhere(), Config(server=Server(request_timeout_secs=7)), Metrics())
    with trio.move_on_after(100) as scope:
        await api.dispatch(EVENT, timed=False)
    assert scope.cancelled_caught
    refused(api.refusal(api.timeout()), 408, "timeout")


async def test_a_door_refuses_in_the_same_shape(call: Caller):
    answer = call.api.refusal(InvalidArgument("the request line is malformed"))
    refused(answer, 400, "invalid_argument", "request line")
    headers = {"x-request-id": "r1", "origin": "http://localhost:1"}
    request = Request("GET", "/", headers=headers)
    answer = call.api.refusal(Overloaded("too many connections"), request)
    assert header(answer, "x-request-id") == "r1"
    assert header(answer, "access-control-allow-origin") == "http://localhost:1"
    assert header(answer, "retry-after") == "1"


async def test_a_door_can_ask_for_the_route_before_the_body(call: Caller):
    route, params = call.api.route("PUT", "/v1/state/a%2Fb")
    assert (route.hot, params) == (True, {"key": "a/b"})
    # A client that only uses the data never leaves the lane.
    cold = {route.path for route in ROUTES if not route.hot and route.tag not in ("pages", "keys")}
    assert cold == {"/v1/snapshot", "/v1/backup", "/v1/metrics", "/v1/embedders"}
    # Nor does who only looks at the page.
    assert {route.path for route in ROUTES if route.hot and route.tag == "pages"} == {
        *("/", "/index.html", "/page/{asset}", "/views/{asset}", "/vendor/{asset}")
    }


async def test_requests_are_counted_by_route(call: Caller):
    await call("PUT", "/v1/state/a", {"value": 1})
    await call("PUT", "/v1/state/b", {"value": 1})
    await call("PUT", "/v1/state/b", body=b"{")
    await call("GET", "/nowhere")
    page = (await call("GET", "/v1/metrics")).body.decode()
    name = "kissvdb_http_requests_total"
    assert f'{name}{{route="PUT /v1/state/{{key}}",status="2xx"}} 2.0' in page
    assert f'{name}{{route="PUT /v1/state/{{key}}",status="4xx"}} 1.0' in page
    assert f'{name}{{route="unmatched",status="4xx"}} 1.0' in page


async def test_a_stream_is_counted_when_it_starts(call: Caller):
    answer = await call("GET", "/v1/stream")
    assert isinstance(answer, StreamResponse)
    assert await anext(answer.body) == b": ok\n\n"
    await answer.body.aclose()
    page = (await call("GET", "/v1/metrics")).body.decode()
    assert 'kissvdb_http_requests_total{route="GET /v1/stream",status="2xx"} 1.0' in page


async def test_an_unknown_query_parameter_is_refused(call: Caller):
    assert reading(await call("GET", "/v1/state?include_vector=1&_x")) == []
    refused(await call("GET", "/v1/state?limit=1&x"), 422, "invalid_argument", "query.x")
