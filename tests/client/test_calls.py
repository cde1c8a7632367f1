"""Every part of the client against a real server."""

import array
import sys

import numpy as np
import pytest

from kissvdb import errors
from kissvdb.client import Client, Config, Event, Item
from kissvdb.client.blocking import net
from kissvdb.testing import serve
from tests.client import blocking


@pytest.fixture(scope="module")
def server():
    with serve() as running:
        yield running


@pytest.fixture
def client(server):
    with Client(config=Config(url=server.url)) as found:
        yield found


def test_the_client_for_plain_programs_is_made_of_the_other():
    for name in blocking.names():
        assert (blocking.TARGET / name).read_text() == blocking.made(name), name


def test_calls_one_after_another_have_one_connection(server, monkeypatch):
    made = []
    connect = net.connect
    monkeypatch.setattr(net, "connect", lambda *given: made.append(1) or connect(*given))
    with Client(config=Config(url=server.url)) as client:
        for n in range(5):
            client.state.put("kept", n)
            client.state.get("kept")
    assert made == [1]


def test_keys(client):
    key = "a/b c%é?#"
    first = client.state.put(key, {"x": [1, None]})
    assert client.state.get(key) == Item(key, {"x": [1, None]}, 1, first.offset)
    assert client.state.patch(key, {"y": 2}).revision == 2
    with pytest.raises(errors.RevisionMismatch):
        client.state.put(key, 1, if_revision=1)
    assert client.state.get(key, at=first.offset).value == {"x": [1, None]}
    assert client.state.delete(key).deleted
    assert not client.state.delete(key).deleted
    assert client.state.get(key) is None
    with pytest.raises(errors.NotFound):
        client.state.patch(key, {}, create=False)


def test_a_repeated_write_is_answered_as_the_first_time(client):
    first = client.state.put("once", 1, op_id="put-1")
    again = client.state.put("once", 1, op_id="put-1")
    assert (again.offset, again.revision, again.repeated) == (first.offset, 1, True)
    with pytest.raises(errors.OpIdReused):
        client.state.put("once", 2, op_id="put-1")
    assert client.state.patch("once", {"a": 1}, op_id="patch-1").repeated is False
    assert client.state.patch("once", {"a": 1}, op_id="patch-1").repeated is True
    assert client.state.delete("once", op_id="delete-1").deleted
    assert client.state.delete("once", op_id="delete-1").repeated
    offset = client.events.publish("log", 1, op_id="event-1")
    assert client.events.publish("log", 1, op_id="event-1") == offset


def test_all_keys_come_page_by_page(client):
    client.bulk([{"op": "put", "key": f"page:{n:04}", "value": n} for n in range(1200)])
    assert [item.value for item in client.state.items("page:")] == list(range(1200))
    found, cursor = client.state.list("page:", limit=2)
    assert len(found) == 2
    assert client.state.list("page:", limit=2, cursor=cursor)[0][0].value == 2


def test_events_are_followed_from_an_offset(client):
    since = client.last_offset
    offset = client.events.publish("progress", {"done": 1}, key="job:1", tags=["x"])
    assert client.events.publish("progress", {}, transient=True) is None
    with client.stream.events(since=since, types=["progress"]) as stream:
        event = next(stream)
    assert event == Event("progress", {"done": 1}, offset, event.ts_ms, "job:1", ("x",))
    assert stream.last_offset == offset
    assert list(stream) == []


@pytest.mark.parametrize(
    "made", [list, tuple, lambda v: np.array(v), lambda v: array.array("d", v)]
)
def test_vectors_of_any_kind(client, made):
    name = f"v-{made([]).__class__.__name__}"
    client.vector.create(name, 3, "cosine")
    assert client.vector.create(name, 3, "cosine", exist_ok=True)["count"] == 0
    client.vector.upsert(name, "a", made([1.0, 0.0, 0.5]), {"lang": "en"})
    results = client.vector.upsert_batch(
        name, [{"id": "b", "vector": made([0.0, 1.0, 0.0]), "meta": {"lang": "de"}}]
    )
    assert [each["status"] for each in results] == ["upserted"]
    hits = client.vector.search(name, made([1.0, 0.0, 0.5]), k=2).hits
    assert [(hit.id, hit.meta["lang"]) for hit in hits] == [("a", "en"), ("b", "de")]
    only = client.vector.search(name, made([1.0, 0.0, 0.5]), filters={"lang": "de"})
    assert [hit.id for hit in only] == ["b"]
    assert client.vector.get(name, "a").numpy().tolist() == [1.0, 0.0, 0.5]
    both = client.vector.search_batch(name, [made([1.0, 0, 0]), made([0.0, 1, 0])], k=1)
    assert [each.hits[0].id for each in both] == ["a", "b"]
    assert client.vector.count(name) == 2
    assert client.vector.delete(name, "a")
    assert not client.vector.delete(name, "a")
    assert client.vector.get(name, "a") is None
    client.vector.drop(name)


def test_documents(client):
    client.doc.put("notes", "1", {"title": "Tide tables", "year": 1987})
    client.doc.put("notes", "2", {"title": "Harbour lights", "year": 1990})
    client.doc.patch("notes", "2", {"year": 1991})
    assert client.doc.get("notes", "2").doc == {"title": "Harbour lights", "year": 1991}
    assert [each.id for each in client.doc.find("notes", {"year": {"$gt": 1990}})] == ["2"]
    assert [hit.id for hit in client.doc.search("notes", "tide")] == ["1"]
    assert [each.id for each in client.doc.all("notes")] == ["1", "2"]
    assert client.doc.delete("notes", "1").deleted
    assert client.doc.get("notes", "1") is None
    assert client.doc.delete_by_filter("notes", {"year": 1991}) == 1


def test_a_batch_is_done_together_or_not_at_all(client):
    done = client.batch(
        [{"op": "put", "key": "m", "value": 1}, {"op": "put", "key": "n", "value": 2}],
        op_id="batch-1",
    )
    assert done.last_offset == client.last_offset
    with pytest.raises(errors.RevisionMismatch) as refused:
        client.batch(
            [
                {"op": "put", "key": "m", "value": 3},
                {"op": "put", "key": "n", "value": 4, "if_revision": 9},
            ]
        )
    assert refused.value.operation == 1
    assert client.state.get("m").value == 1


def test_a_load_says_what_was_refused_and_can_be_done_again(client):
    operations = [{"op": "put", "key": f"l{n}", "value": n} for n in range(5000)]
    operations[3000] = {"op": "put", "key": "", "value": 0}
    operations[0]["op_id"] = None
    loaded = client.bulk(operations, load_id="load-1")
    assert (loaded.done, loaded.refused) == (4999, 1)
    assert [(each.number, each.code) for each in loaded.refusals] == [(3000, "invalid_argument")]
    before = client.last_offset
    assert client.bulk(operations, load_id="load-1").done == 4999
    client.state.put("after", 1)
    assert client.last_offset == before + 1
    assert client.state.get("l4999").revision == 1


def test_search_and_ingest(client):
    client.ingest({"id": 1, "vector": [1.0, 0.0], "content": "harbour", "metadata": {}})
    found = client.search("TEST_VEC:1,0", mode="vector")
    assert [each["document"]["content"] for each in found] == ["harbour"]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda c: c.vector.search("nope", [1.0]), errors.NotFound),
        (lambda c: c.vector.create("bad name", 3), errors.InvalidArgument),
        (lambda c: c.state.put("k" * 600, 1), errors.InvalidArgument),
        (lambda c: c.state.put("k", "x" * 100_000), errors.PayloadTooLarge),
        (lambda c: c.doc.find("x", limits=2), errors.MistypedField),
    ],
)
def test_what_the_server_refuses_is_raised_as_what_it_is(client, call, kind):
    with pytest.raises(kind) as refused:
        call(client)
    assert type(refused.value) is kind
    assert refused.value.message
    assert client.health()


def test_it_imports_neither_the_server_nor_what_takes_long():
    import subprocess

    heavy = "numpy numba quart trio anyio httpx attr ssl random urllib asyncio"
    program = (
        "import sys, kissvdb.client; "
        f"print([name for name in {heavy.split()} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_bytes_are_no_parameters_of_sql(client):
    client.sql.exec("CREATE TABLE blobs(b BLOB)")
    insert = "INSERT INTO blobs VALUES ({})"
    for bad in ([b"\x00"], {"b": bytearray(1)}):
        with pytest.raises(errors.InvalidArgument, match="unhex"):
            client.sql.exec(insert.format("?"), bad)
        with pytest.raises(errors.InvalidArgument, match="unhex"):
            client.sql.batch([(insert.format("?"), bad)])
        with pytest.raises(errors.InvalidArgument, match="unhex"):
            client.batch([{"op": "sql", "sql": insert.format("?"), "params": bad}])
    client.sql.exec(insert.format("unhex(?)"), [b"\x00\xff".hex()])
    assert client.sql.query("SELECT hex(b) AS h FROM blobs").rows == [{"h": "00FF"}]


@pytest.mark.parametrize("value", [float("nan"), {"a": [1, (None, float("-inf"))]}])
def test_what_json_cannot_hold_is_refused_and_not_written_as_null(client, value):
    calls = (
        lambda: client.state.put("nan", value),
        lambda: client.doc.put("nan", "1", {"a": value}),
        lambda: client.events.publish("nan", value),
    )
    for call in calls:
        with pytest.raises(errors.InvalidArgument, match="no NaN"):
            call()
    # By msgpack it reaches the server, who says the same.
    assert client.bulk([{"op": "put", "key": "nan", "value": value}]).refused == 1
    assert client.state.get("nan") is None
    client.state.put("none", {"a": [None, 1.5]})
    assert client.state.get("none").value == {"a": [None, 1.5]}


def test_a_body_that_is_too_large_is_said_so(client):
    # More than sockets hold: the server answers and closes before all of it is sent.
    with pytest.raises(errors.KissError, match="body_bytes_max"):
        client.state.put("large", "x" * 30_000_000)
    client.state.put("large", "x")


def test_wrong_types_are_named(client):
    with pytest.raises(TypeError, match="not int"):
        client.state.put(5, 1)
    with pytest.raises(TypeError, match="text="):
        client.vector.search("any", "some words")
