"""A name that nobody reads is refused, on every route and at every depth.

What is tried comes from the route table and the types of bodies, so a new route is tried, too.
"""

import json

import httpx
import msgpack
import msgspec
import pytest
from msgspec import inspect

from kissvdb.api.bulk.handlers import NDJSON
from kissvdb.api.frame.route import JSON, MERGE_PATCH
from kissvdb.api.routes import ROUTES
from kissvdb.api.vectors.forms import MSGPACK, OCTETS
from kissvdb.config import Config, Http, Search, Server, Storage
from kissvdb.testing import serve
from tests.api.vector_client import Collection, floats, refused
from tests.patience import PATIENCE_SECS

MADE_UP = "zzmadeup"
EXAMPLES = {"key": "some-key", "collection": "strict", "asset": "index.css", "id": "some-id"}

ASKED = [route for route in ROUTES if not route.any_query]
STREAMS = [route for route in ASKED if route.answer.media == "text/event-stream"]


def bodies(info):
    """Every body of this type with one made-up field, and the path of that field."""
    match info:
        case inspect.Metadata(type=inner):
            yield from bodies(inner)
        case inspect.UnionType(types=types):
            for each in types:
                yield from bodies(each)
        case inspect.ListType(item_type=item):
            for body, path in bodies(item):
                yield [body], f"[0]{path}"
        case inspect.StructType(fields=fields, tag_field=tag_field, tag=tag):
            tagged = {tag_field: tag} if tag_field else {}
            yield {**tagged, MADE_UP: 1}, f".{MADE_UP}"
            for field in fields:
                for inner, path in bodies(field.type):
                    yield {**tagged, field.encode_name: inner}, f".{field.encode_name}{path}"


def encoded(media, body):
    if media in (JSON, NDJSON):
        return json.dumps(body).encode()
    return msgpack.packb(body)


TRIED = [
    pytest.param(route, media, body, path, id=f"{route.name} {media.partition('/')[2]} {path}")
    for route in ASKED
    # What a message may have beside is for the protocol to say that it is of.
    if route.body not in (None, msgspec.Raw) and not route.relays
    for media in route.body_media
    if media != OCTETS
    for body, path in bodies(inspect.type_info(route.body))
]


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "hypercorn"])
def http(request):
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        http=Http(lane=request.param),
        search=Search(compile=False),
    )
    with (
        serve(config) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        url = f"/v1/vector/{EXAMPLES['collection']}"
        assert client.post(url, json={"dim": 2, "metric": "l2"}).status_code == 200
        yield client


def target(route):
    return route.path.replace("...", "").format(**EXAMPLES)


def send(client, route, query="", media=None, content=None):
    headers = {"content-type": media} if media else {}
    return client.request(route.method, target(route) + query, headers=headers, content=content)


def test_enough_is_tried():
    places = {path for *_, path in (each.values for each in TRIED)}
    assert {f".{MADE_UP}", f".items[0].{MADE_UP}", f".index.{MADE_UP}", f"[0].{MADE_UP}"} <= places


@pytest.mark.parametrize(("route", "media", "body", "path"), TRIED)
def test_a_made_up_field_is_refused_and_named(http, route, media, body, path):
    answer = send(http, route, media=media, content=encoded(media, body))
    if route.answer.media == NDJSON:
        assert answer.status_code == 200
        error = answer.json()["error"]
        assert (error["error"], MADE_UP in error["message"]) == ("invalid_argument", True)
        return
    refused(answer, 422, "invalid_argument", f"body{path}: unknown field")


@pytest.mark.parametrize("route", ASKED, ids=lambda route: route.name)
def test_a_made_up_parameter_is_refused_and_named(http, route):
    media = route.body_media[0] if route.body_media else None
    answer = send(http, route, f"?{MADE_UP}=1", media, b"{}" if media else None)
    refused(answer, 422, "invalid_argument", f"query.{MADE_UP}: unknown parameter")


@pytest.mark.parametrize(
    "route", [each for each in ASKED if each.method == "GET"], ids=lambda route: route.name
)
@pytest.mark.parametrize("query", ["_=17", "_made_up=1", "api_key=any", "&&=&="])
def test_parameters_with_an_underscore_and_the_key_are_none_of_ours(http, route, query):
    answer = http.head(f"{target(route)}?{query}")
    assert answer.status_code != 422


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.any_query], ids=lambda route: route.name
)
def test_the_query_of_a_page_belongs_to_the_page(http, route):
    assert send(http, route, "?v=3").status_code in (200, 404)


BODILESS = [each for each in ASKED if each.method != "GET" and not each.body_media]


@pytest.mark.parametrize("route", BODILESS, ids=lambda route: route.name)
def test_a_body_that_nobody_reads_is_refused(http, route):
    answer = send(http, route, media=JSON, content=b'{"zzmadeup":1}')
    refused(answer, 422, "invalid_argument", "body: is not read here")


def test_a_condition_in_the_body_of_a_delete_is_not_passed_over(http):
    assert http.put("/v1/state/kept", json={"value": 1}).status_code == 200
    answer = http.request("DELETE", "/v1/state/kept", json={"if_revision": 7})
    refused(answer, 422, "invalid_argument", "if_revision", "query")
    assert http.get("/v1/state/kept").status_code == 200
    for nothing in (b"", b"{}", b" null "):
        answer = http.request(
            "DELETE", "/v1/state/none", content=nothing, headers={"content-type": JSON}
        )
        assert answer.json()["deleted"] is False


RAW = [
    (route, parameter.name) for route in ASKED for parameter in route.parameters if parameter.media
]


@pytest.mark.parametrize(("route", "name"), RAW, ids=lambda each: getattr(each, "name", each))
def test_what_is_read_beside_raw_numbers_only_is_refused_beside_json(http, route, name):
    answer = send(http, route, f"?{name}=1", JSON, b"{}")
    refused(answer, 422, "invalid_argument", f"query.{name}: is read only beside", OCTETS)


MEANT = [
    ("search", {"filter": {}}, "filters"),
    ("search", {"where": {}}, "filters"),
    ("search", {"limit": 3}, "k"),
    ("search", {"top_k": 3}, "k"),
    ("search", {"name_space": "a"}, "namespace"),
    ("search", {"includeMeta": True}, "include_meta"),
    ("search", {"query_vector": [1, 2]}, "vector"),
    ("search_batch", {"filter": {}}, "filters"),
    ("upsert", {"metadata": {}}, "meta"),
    ("upsert", {"payload": {}}, "meta"),
    ("upsert", {"ttl": 5}, "ttl_ms"),
    ("upsert", {"embedding": [1, 2]}, "vector"),
    ("upsert_batch", {"points": []}, "items"),
    ("upsert_batch", {"items": [{"payload": {}}]}, "meta"),
    ("delete_by_filter", {"where": {}}, "filters"),
    ("scroll", {"top_k": 1}, "limit"),
    ("count", {"filter": {}}, "filters"),
]


@pytest.mark.parametrize(("what", "body", "name"), MEANT)
def test_names_of_other_databases_lead_to_ours(http, what, body, name):
    answer = http.post(f"/v1/vector/strict/{what}", json=body)
    refused(answer, 422, "invalid_argument", f"did you mean {name}?")


@pytest.mark.parametrize(
    ("method", "where", "body", "words"),
    [
        ("PUT", "/v1/state/k", {"value": 1, "ttl": 5}, "did you mean ttl_ms?"),
        ("PUT", "/v1/state/k?ttl_ms=5", {"value": 1}, "belongs into the body"),
        ("PUT", "/v1/state/k?ttl=5", {"value": 1}, "did you mean ttl_ms in the body?"),
        ("PATCH", "/v1/state/k?ttl=5", {"value": 1}, "query.ttl: unknown parameter, did you mean"),
        ("GET", "/v1/state?prefx=a", None, "did you mean prefix?"),
        ("GET", "/v1/stream?type=a", None, "did you mean types?"),
        ("GET", "/v1/stream?keyprefix=a", None, "did you mean key_prefix?"),
        ("GET", "/v1/vector/strict/get?name=a", None, "there are id"),
        ("POST", "/v1/vector/new", {"dimension": 3, "metric": "l2"}, "did you mean dim?"),
        ("POST", "/v1/vector/new", {"dim": 3, "distance": "l2"}, "did you mean metric?"),
        ("POST", "/v1/events", {"type": "a", "data": 1, "tag": "x"}, "did you mean tags?"),
        ("POST", "/v1/events", [{"type": "a", "data": 1, "event": "x"}], "body[0].event"),
    ],
)
def test_the_message_says_what_was_meant(http, method, where, body, words):
    refused(http.request(method, where, json=body), 422, "invalid_argument", words)


def test_nothing_is_written_by_a_batch_with_a_misspelt_field(http):
    operations = [{"key": "batch:1", "value": 1}, {"key": "batch:2", "value": 2, "ttl": 5}]
    answer = http.post("/v1/state/batch_put", json={"operations": operations})
    refused(answer, 422, "invalid_argument", "body.operations[1].ttl", "did you mean ttl_ms?")
    assert http.get("/v1/state", params={"prefix": "batch:"}).json() == []


def test_the_head_line_of_a_raw_batch_is_read_as_strictly(http):
    head = json.dumps({"ids": ["a"], "metadatas": [{}]}).encode()
    answer = http.post(
        "/v1/vector/strict/upsert_batch",
        content=head + b"\n" + floats(1, 2),
        headers={"content-type": OCTETS},
    )
    refused(answer, 422, "invalid_argument", "did you mean metas?")


def test_what_the_seeds_clients_send_is_let_through_and_the_rest_keeps_its_bytes(http):
    body = b'{ "include_vector":false, "value":{"a" : 1.50, "b":[12345678901234567890.5]}}'
    answer = http.put("/v1/state/seed", content=body, headers={"content-type": JSON})
    assert answer.status_code == 200
    assert b'"value":{"a":1.50,"b":[12345678901234567890.5]}' in http.get("/v1/state/seed").content
    collection = Collection(http)
    collection.upsert("a", 1, 2, include_vector=True)
    assert http.get(f"{collection.url}/get?id=a&include_vector=true").status_code == 200
    batch = {"items": [{"id": "b", "vector": [1, 2], "include_meta": True, "meta": {"n": 1}}]}
    assert collection.ok("upsert_batch", batch)["results"][0]["status"] == "upserted"
    assert collection.get("b").json()["meta"] == {"n": 1}
    packed = msgpack.packb({"id": "c", "vector": floats(3, 4), "include_meta": True})
    collection.ok("upsert", packed, MSGPACK)
    assert collection.get("c").json()["vector"] == [3, 4]


def test_free_json_stays_free(http):
    free = {"filter": 1, "ttl": 2, MADE_UP: {"payload": 3}}
    assert http.put("/v1/state/free", json={"value": free}).status_code == 200
    patch = http.patch("/v1/state/free", json=free, headers={"content-type": MERGE_PATCH})
    assert patch.status_code == 200
    assert http.get("/v1/state/free").json()["value"] == free
    assert http.post("/v1/events", json={"type": "t", "data": free}).status_code == 200
    Collection(http).upsert("a", 1, 2, meta=free)


def test_a_hostile_name_is_answered_in_short(http):
    answer = http.put("/v1/state/k", json={"value": 1, "\n\0" + "filters" * 20_000: 1})
    refused(answer, 422, "invalid_argument", "unknown field")
    assert len(answer.content) < 1000
    answer = http.get("/v1/state", params={"x" * 5000: 1})
    refused(answer, 422, "invalid_argument", "unknown parameter")
    assert len(answer.content) < 1000


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "hypercorn"])
def lenient(request):
    config = Config(
        server=Server(port=0, unknown_fields="ignore"),
        storage=Storage(memory=True),
        http=Http(lane=request.param),
        search=Search(compile=False),
    )
    with (
        serve(config) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        yield client


def test_the_way_back_passes_over_what_is_unknown(lenient):
    answer = lenient.put("/v1/state/k?ttl=1&v=2", json={"ttl": 1, "value": {"ttl": 1}})
    assert answer.status_code == 200
    assert lenient.get("/v1/state/k").json()["value"] == {"ttl": 1}
    collection = Collection(lenient, index={"kind": "flat", "m0": 3})
    batch = {"items": [{"id": "a", "vector": [1, 2], "payload": 1, "meta": {"payload": 1}}]}
    collection.ok("upsert_batch", batch, v="1")
    collection.ok("upsert_batch", msgpack.packb(batch), MSGPACK)
    assert collection.get("a").json()["meta"] == {"payload": 1}
    lines = b'{"op":"put","key":"b","ttl":1,"value":2}\n{"op":"nothing","x":1}\n'
    answer = lenient.post("/v1/bulk", content=lines, headers={"content-type": NDJSON})
    assert [json.loads(line)["status"] for line in answer.text.splitlines()] == ["ok", "error"]
    assert lenient.post("/v1/events", json=[{"type": "a", "data": 1, "x": 2}]).status_code == 200
    refused(lenient.put("/v1/state/k", json={"ttl": 1}), 422, "invalid_argument", "value")
