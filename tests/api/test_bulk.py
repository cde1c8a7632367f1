"""POST /v1/bulk and event batches over real sockets, through both doors."""

import http.client
import json

import msgpack
import pytest

from kissvdb.config import Config, Http, Limits, Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
def port(request):
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        http=Http(lane=request.param),
        limits=Limits(body_bytes_max=20_000, json_bytes_max=5_000),
    )
    with serve(config) as server:
        yield server.port


def send(port, body, *, query="", media="application/x-ndjson", path="/v1/bulk", headers=()):
    """``body`` bytes go with a length, an iterable of bytes goes chunked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECS)
    try:
        chunked = not isinstance(body, bytes)
        connection.request(
            "POST",
            path + query,
            body,
            {"content-type": media, **dict(headers)},
            encode_chunked=chunked,
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECS)
    connection.request("GET", path)
    answer = connection.getresponse()
    try:
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def lines(*operations):
    return b"".join(json.dumps(each).encode() + b"\n" for each in operations)


def answers(text):
    return [json.loads(line) for line in text.splitlines()]


MIXED = [
    {"op": "put", "key": "a", "value": {"n": 1}},
    {"op": "put", "key": "a", "value": 2, "if_revision": 5},
    {"op": "event", "type": "log", "data": "x", "tags": ["t"]},
    {"op": "patch", "key": "a", "patch": {"m": 2}},
    {"op": "delete", "key": "b"},
    {"op": "nonsense"},
    {"op": "event", "type": "gap", "data": 1},
    {"op": "delete", "key": "a", "if_revision": 2},
]


def check_mixed(found):
    ok = [each for each in found if each["status"] == "ok"]
    assert [each["offset"] for each in ok] == [1, 2, 3, None, 4]
    assert [each["line"] for each in found if each["status"] == "error"] == [2, 6, 7]
    codes = [each["error"]["error"] for each in found if each["status"] == "error"]
    assert codes == ["revision_mismatch", "invalid_argument", "invalid_argument"]
    assert found[3]["revision"] == 2
    assert (found[4]["deleted"], found[7]["deleted"]) == (False, True)


def test_mixed_operations_are_answered_one_by_one_in_order(port):
    status, body = send(port, lines(*MIXED))
    assert status == 200
    check_mixed(answers(body))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_chunked_body_may_be_cut_anywhere(port, size):
    body = lines(*MIXED)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    status, text = send(port, pieces)
    assert status == 200
    check_mixed(answers(text))


def test_msgpack_says_the_same(port):
    packed = b"".join(map(msgpack.packb, MIXED))
    status, body = send(
        port, [packed[:50], packed[50:51], packed[51:]], media="application/msgpack"
    )
    assert status == 200
    check_mixed(answers(body))


def test_msgpack_that_comes_in_one_large_piece_is_done(port):
    event = msgpack.packb({"op": "event", "type": "log", "data": "x" * 1000})
    status, body = send(port, event * 300, media="application/msgpack", query="?answers=errors")
    assert (status, answers(body)[-1]["operations"], answers(body)[-1]["errors"]) == (200, 300, 0)


def test_a_map_that_is_too_large_is_refused(port):
    good = msgpack.packb({"op": "event", "type": "log", "data": 1})
    large = msgpack.packb({"op": "event", "type": "log", "data": ["x" * 1000] * 30})
    # In one piece the next map can be found, but nobody waits for the end of one that never ends.
    pieces = [large[at : at + 4_000] for at in range(0, len(large), 4_000)]
    for body in (good + large + good, [good, large[:25_000], large[25_000:]], [good, *pieces]):
        _, text = send(port, body, media="application/msgpack")
        first, second, *_ = answers(text)
        assert first["status"] == "ok"
        assert second["error"]["error"] == "payload_too_large"


def test_what_is_no_msgpack_ends_it_and_says_so(port):
    good = msgpack.packb({"op": "event", "type": "log", "data": 1})
    status, body = send(port, good + b"\xc1\xc1" + good, media="application/msgpack")
    assert status == 200
    first, second = answers(body)
    assert first["status"] == "ok"
    assert "not msgpack" in second["error"]["message"]


@pytest.mark.parametrize("value", [float("nan"), b"\x00", {"x": float("inf")}])
def test_msgpack_values_without_a_form_in_json_are_refused(port, value):
    packed = msgpack.packb({"op": "put", "key": "a", "value": value})
    _, body = send(port, packed, media="application/msgpack")
    assert answers(body)[0]["error"]["error"] == "invalid_argument"
    assert get(port, "/v1/state/a")[0] == 404


def test_a_repeat_with_its_op_id_is_answered_and_not_applied(port):
    operations = [
        {"op": "put", "key": "n", "value": 1, "op_id": "1"},
        {"op": "event", "type": "log", "data": 1, "op_id": "2"},
        {"op": "delete", "key": "n", "op_id": "3"},
    ]
    first = send(port, lines(*operations))
    again = send(port, lines(*operations, {"op": "put", "key": "end", "value": 1}))
    repeated = [{**each, "repeated": True} for each in answers(first[1])]
    assert answers(again[1])[:3] == repeated
    assert answers(again[1])[3]["offset"] == 4


def test_a_load_of_any_length_goes_through_and_a_quiet_one_is_summed_up(port):
    count = 5000

    def load():
        for first in range(0, count, 100):
            operations = (
                {"op": "put", "key": f"k{n}", "value": "x" * 50} for n in range(first, first + 100)
            )
            yield lines(*operations)

    status, body = send(port, load(), query="?answers=errors")
    assert status == 200
    assert answers(body) == [{"status": "done", "operations": count, "errors": 0, "offset": count}]


def test_a_line_that_is_too_long_is_refused_alone(port):
    long = b'{"op":"put","key":"a","value":"' + b"x" * 30_000 + b'"}\n'
    put = lines({"op": "put", "key": "b", "value": 1})
    for pieces in ([put, long[:15_000], long[15_000:], put], put + long + put):
        _, body = send(port, pieces)
        first, second, third = answers(body)
        assert (first["status"], third["status"]) == ("ok", "ok")
        assert second["line"] == 2
        assert second["error"]["error"] == "payload_too_large"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b'{"op":"put"}',
        b'{"op":"put","key":"","value":1}',
        b'{"op":"put","key":"a"}',
        b'{"op":"put","key":"a","value":NaN}',
        b'{"op":"put","key":"a","value":1e999}',
        b'{"op":"put","key":"a","value":"\xff"}',
        b'{"op":"put","key":"a","value":1,"ttl_ms":0}',
        b'{"op":"put","key":"a","value":1,"ttl_ms":true}',
        b'{"op":"put","key":"a","value":1,"if_revision":-1}',
        b'{"op":"put","key":"a","value":1,"op_id":""}',
        b'{"op":"event","type":"state_updated","data":1}',
        b'{"op":"put","key":"a","value":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_a_bad_line_is_an_error_and_stops_nothing(port, line):
    good = lines({"op": "event", "type": "log", "data": 1})
    status, body = send(port, line + b"\n" + good)
    assert status == 200
    bad, done = answers(body)
    assert bad["status"] == "error"
    assert bad["error"]["message"]
    assert (done["status"], done["offset"]) == ("ok", 1)


def test_puts_of_nothing_but_keys_and_values_are_answered_like_any_other(port):
    keys = ["a", 'quote"', "b", "a", "tab\t"]
    found = []
    for begin in ('{"op":"put",', '{ "op":"put",'):
        text = [
            f'{begin}"key":{json.dumps(key)},"value":[{n}, 1]}}\n' for n, key in enumerate(keys)
        ]
        status, body = send(port, "".join(text).encode())
        assert status == 200
        found.append(answers(body))
    assert [each["revision"] for each in found[0]] == [1, 1, 1, 2, 1]
    assert [each["revision"] for each in found[1]] == [3, 2, 2, 4, 2]
    for quick, general in zip(*found, strict=True):
        assert list(quick) == list(general)
        assert quick["offset"] + len(keys) == general["offset"]
    assert get(port, "/v1/state/a")[1]["value"] == [3, 1]
    # Of lines that are JSON only together none is taken.
    status, body = send(
        port, b'{"op":"put","key":"x","value":[1\n{"op":"put","key":"y","value":1}\n'
    )
    assert [each["status"] for each in answers(body)] == ["error", "ok"]


def test_an_unknown_wish_for_answers_is_refused(port):
    status, body = send(port, b"", query="?answers=some")
    assert status == 400
    assert "query.answers" in json.loads(body)["message"]


def test_a_client_that_leaves_keeps_what_was_answered(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECS)
    connection.putrequest("POST", "/v1/bulk")
    connection.putheader("content-type", "application/x-ndjson")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    line = lines({"op": "put", "key": "kept", "value": 1})
    connection.send(b"%x\r\n%b\r\n" % (len(line), line))
    answer = connection.sock.recv(4096)
    while b'"offset":1' not in answer:
        answer += connection.sock.recv(4096)
    connection.close()
    assert get(port, "/v1/state/kept")[1]["value"] == 1


def test_a_batch_of_events_is_all_or_nothing(port):
    events = [{"type": "log", "data": n} for n in range(3)]
    media, path = "application/json", "/v1/events"
    status, body = send(port, json.dumps(events).encode(), media=media, path=path)
    assert (status, json.loads(body)) == (200, {"offset": 1, "last_offset": 3})
    for bad in (
        [*events, {"type": "state_x", "data": 1}],
        [*events, {"type": "log"}],
        [*events, {"type": "log", "data": 1, "transient": True}],
        [],
        [{"type": "log", "data": 1}] * 1001,
    ):
        body = json.dumps(bad, separators=(",", ":")).encode()
        if len(body) < 20_000:
            status, _ = send(port, body, media=media, path=path)
            assert status in (400, 422)
    assert get(port, "/v1/ready")[1]["offset"] == 3
