"""What a client reads and what it writes, without a server."""

import pytest

from kissvdb import errors
from kissvdb.client import Client, Config, Event, Gap
from kissvdb.client import errors as client_errors
from kissvdb.client.results import float32
from kissvdb.client.sse import Ended, EventParser
from kissvdb.client.wire import Call, common_headers, encode


def test_the_environment_comes_before_the_file(tmp_path, monkeypatch):
    path = tmp_path / ".env"
    path.write_text("# ours\nexport KISSVDB_URL='http://file:1'\nKISSVDB_KEY=k1\nother\n")
    assert Config.from_env(path) == Config("http://file:1", "k1")
    monkeypatch.setenv("KISSVDB_URL", "http://env:2")
    monkeypatch.setenv("KISSVDB_TIMEOUT", "2.5")
    assert Config.from_env(path) == Config("http://env:2", "k1", 2.5)
    monkeypatch.setenv("KISSVDB_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="KISSVDB_TIMEOUT"):
        Config.from_env(path)


def test_a_key_is_not_shown():
    assert "secret" not in repr(Config(key="secret"))


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a?x=1", "http://u:p@a"])
def test_a_url_that_is_none(url):
    with pytest.raises(ValueError, match="url"):
        Client(url)


def test_nothing_gets_into_the_head_that_does_not_belong_there():
    with pytest.raises(ValueError, match="key"):
        common_headers("a", "x\r\nfoo: bar")
    call = Call("GET", "/v1/state/x", headers=(("a", "b\r\nc: d"),))
    with pytest.raises(ValueError, match="line breaks"):
        encode(call, "", "", 0)


def test_a_read_says_which_offset_it_wants_to_see():
    assert b"min_offset=7" in encode(Call("GET", "/x", reads=True), "", "", 7)
    assert b"min_offset" not in encode(Call("PUT", "/x"), "", "", 7)


def test_events_in_pieces_of_any_size():
    text = (
        b": ok\n\nid: 3\n\nevent: a\nid: 4\n"
        b'data: {"offset":4,"ts_ms":1,"type":"a","data":{"x":"\\n"}}\n\n: keepalive\n\n'
        b'event: gap\nid: 9\ndata: {"from_offset":5,"to_offset":9,"dropped":5,"reason":"trimmed"}'
        b'\n\nevent: error\ndata: {"error":"damaged","message":"m"}\n\n'
    )
    wanted = [Event("a", {"x": "\n"}, 4, 1), Gap(5, 9, 5, "trimmed"), Ended("damaged", "m")]
    for size in range(1, 60):
        parser = EventParser()
        pieces = [text[n : n + size] for n in range(0, len(text), size)]
        assert [event for piece in pieces for event in parser.feed(piece)] == wanted
        assert parser.last_id == "9"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, b'{"error":"revision_mismatch","message":"m"}', errors.RevisionMismatch),
        (412, b'{"error":"revision_mismatch","message":"m"}', errors.PreconditionFailed),
        (422, b'{"error":"invalid_argument","message":"m"}', errors.MistypedField),
        (502, b"<html>bad gateway</html>", errors.Unavailable),
        (418, b'{"error":"teapot","message":"m"}', errors.Refused),
        (500, b"", client_errors.ServerFailed),
    ],
)
def test_answers_become_exceptions(status, body, kind):
    assert type(client_errors.of_answer(status, body)) is kind


def test_numbers_of_a_vector():
    assert float32([1, 2.5]) == b"\x00\x00\x80?\x00\x00 @"
    with pytest.raises(TypeError):
        float32(["a"])


def test_no_server_is_said_so():
    client = Client(config=Config(url="http://127.0.0.1:9", retries=1, timeout_secs=5))
    with pytest.raises(client_errors.Unreachable, match="is it the right url"):
        client.state.get("x")
