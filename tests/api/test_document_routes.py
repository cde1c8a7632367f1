"""Documents over HTTP: what a client sends and gets."""

import json

import pytest

from kissvdb.config import Limits
from tests.api.caller import Caller, header, opened, reading, refused


async def test_put_get_patch_and_delete_tell_revision_and_offset(call: Caller):
    answer = await call("PUT", "/v1/doc/books/solaris", {"title": "Solaris", "year": 1961})
    written = {"title": "Solaris", "year": 1961}
    expected = {"id": "solaris", "revision": 1, "doc": written, "expires_at_ms": None, "offset": 1}
    assert reading(answer) == expected
    answer = await call("GET", "/v1/doc/books/solaris")
    assert (header(answer, "etag"), reading(answer)) == ('"1"', expected)
    answer = await call("PATCH", "/v1/doc/books/solaris", {"year": None, "author": {"n": "Lem"}})
    patched = {"id": "solaris", "revision": 2, "expires_at_ms": None, "offset": 2}
    assert reading(answer) == patched
    found = reading(await call("GET", "/v1/doc/books/solaris"))
    assert found == {**patched, "doc": {"title": "Solaris", "author": {"n": "Lem"}}}
    answer = await call("DELETE", "/v1/doc/books/solaris")
    assert reading(answer) == {"deleted": True, "offset": 3}
    answer = await call("DELETE", "/v1/doc/books/solaris")
    assert (answer.status, reading(answer)) == (200, {"deleted": False, "offset": None})
    answer = await call("GET", "/v1/doc/books/solaris")
    refused(answer, 404, "not_found", "no document 'solaris'", "'books'")


@pytest.mark.parametrize(
    ("path", "id_"),
    [
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a//b", "a//b"),
        ("b:c", "b:c"),
        ("find", "find"),
        ("put_batch", "put_batch"),
        ("%E6%9D%B1%E4%BA%AC", "東京"),
        ("a+b", "a+b"),
        ("100%25", "100%"),
        ("..", ".."),
    ],
)
async def test_an_id_may_be_any_text(call: Caller, path, id_):
    assert reading(await call("PUT", f"/v1/doc/c/{path}", {"n": 1}))["id"] == id_
    assert reading(await call("GET", f"/v1/doc/c/{path}"))["id"] == id_
    assert reading(await call("PATCH", f"/v1/doc/c/{path}", {"m": 2}))["revision"] == 2
    assert reading(await call("GET", "/v1/state?prefix=doc:c:"))[0]["key"] == f"doc:c:{id_}"
    assert reading(await call("DELETE", f"/v1/doc/c/{path}"))["deleted"]


async def test_a_document_is_a_key_of_one_collection(call: Caller):
    assert (await call("PUT", "/v1/doc/a/b:c", 1)).status == 200
    refused(await call("GET", "/v1/doc/a:b/c"), 400, "invalid_argument", "collection")
    assert reading(await call("GET", "/v1/state/doc:a:b:c"))["value"] == 1
    assert (await call("PUT", "/v1/state/doc:a:d", {"value": {"n": 2}})).status == 200
    assert reading(await call("GET", "/v1/doc/a/d"))["doc"] == {"n": 2}


@pytest.mark.parametrize("document", [None, 0, "text", [1, {"a": 2}], {}, {"value": 1}])
async def test_a_document_may_be_any_json(call: Caller, document):
    assert reading(await call("PUT", "/v1/doc/c/d", document))["doc"] == document
    assert reading(await call("GET", "/v1/doc/c/d"))["doc"] == document


async def test_a_document_keeps_its_bytes_but_for_space(call: Caller):
    body = b'{ "n" : 1.50, "big": 12345678901234567890, "name": "\\u00e9" }'
    answer = await call("PUT", "/v1/doc/c/d", body=body)
    assert b'"doc":{"n":1.50,"big":12345678901234567890,"name":"\\u00e9"}' in answer.body
    assert (await call("GET", "/v1/doc/c/d")).body == answer.body


async def test_conditions_and_headers_are_those_of_state(call: Caller):
    async def put(query="", **headers):
        return (await call("PUT", f"/v1/doc/c/d{query}", {"n": 1}, **headers)).status

    assert await put("?create=false") == 404
    assert await put("?if_revision=3") == 409
    assert await put(if_match='"3"') == 412
    assert await put(if_none_match="*") == 200
    assert await put(if_none_match="*") == 412
    assert await put("?if_revision=0") == 409
    assert await put("?if_revision=1") == 200
    assert await put("?if_offset=1") == 409
    assert await put("?if_offset=2&create=false") == 200
    assert await put(if_match='"3"') == 200
    answer = await call("GET", "/v1/doc/c/d", if_none_match='"4"')
    assert (answer.status, answer.body, header(answer, "etag")) == (304, b"", '"4"')
    refused(await call("PATCH", "/v1/doc/c/d?if_revision=1", {}), 409, "revision_mismatch")
    refused(await call("DELETE", "/v1/doc/c/d", if_match='"1"'), 412, "revision_mismatch")
    assert reading(await call("DELETE", "/v1/doc/c/d?if_revision=4"))["deleted"]


async def test_a_document_expires_and_a_patch_keeps_its_time(call: Caller):
    first = reading(await call("PUT", "/v1/doc/c/d?ttl_ms=60000", {"n": 1}))
    assert first["expires_at_ms"] > 0
    patched = reading(await call("PATCH", "/v1/doc/c/d", {"n": 2}))
    assert patched["expires_at_ms"] == first["expires_at_ms"]
    assert reading(await call("PUT", "/v1/doc/c/d", {"n": 3}))["expires_at_ms"] is None
    refused(await call("PUT", "/v1/doc/c/d?ttl_ms=0", {}), 400, "invalid_argument", "ttl_ms")


async def test_a_repeat_with_its_op_id_is_answered_and_not_done(call: Caller):
    first = reading(await call("PUT", "/v1/doc/c/d?op_id=1", {"n": 1}))
    again = reading(await call("PUT", "/v1/doc/c/d?op_id=1", {"n": 1}))
    assert again == {**first, "repeated": True}
    refused(await call("PUT", "/v1/doc/c/d?op_id=1", {"n": 2}), 409, "op_id_reused")
    for method, target in (("PATCH", "/v1/doc/c/d?op_id=2"), ("DELETE", "/v1/doc/c/d?op_id=3")):
        body = {"n": 2} if method == "PATCH" else {}
        done = reading(await call(method, target, body))
        assert reading(await call(method, target, body)) == {**done, "repeated": True}


async def test_a_batch_is_answered_one_by_one_in_order(call: Caller):
    documents = [
        {"id": "a", "doc": {"n": 1}},
        {"id": "a", "doc": {"n": 2}, "if_revision": 7},
        {"id": "", "doc": 1},
        {"id": "b", "doc": None, "ttl_ms": 60_000},
        {"id": "big", "doc": "x" * 70_000},
    ]
    answer = reading(await call("POST", "/v1/doc/c/put_batch", {"documents": documents}))
    results = answer["results"]
    assert [each["status"] for each in results] == ["ok", "error", "error", "ok", "error"]
    assert [each["id"] for each in results] == ["a", "a", "", "b", "big"]
    assert (results[0]["revision"], results[0]["offset"], results[3]["offset"]) == (1, 1, 2)
    codes = [each["error"]["error"] for each in results if "error" in each]
    assert codes == ["revision_mismatch", "invalid_argument", "payload_too_large"]
    answer = await call("POST", "/v1/doc/c/delete_batch", {"ids": ["b", "none", "a", "x" * 200]})
    gone = reading(answer)["results"]
    assert [each.get("deleted") for each in gone] == [True, False, True, None]
    assert gone[1] == {"status": "ok", "id": "none", "deleted": False, "offset": None}
    assert gone[3]["error"]["error"] == "invalid_argument"


async def test_a_batch_that_is_malformed_writes_nothing(call: Caller):
    for documents, words in (
        ([{"id": "a", "doc": 1}, {"id": "b"}], "doc"),
        ([{"id": "a", "doc": 1}, {"id": "b", "doc": 1, "ttl": 5}], "did you mean ttl_ms?"),
        ([{"id": "a", "doc": 1}, {"_id": "b", "doc": 1}], "did you mean id?"),
        ([{"id": "a", "doc": 1}, {"id": "b", "document": 1}], "did you mean doc?"),
    ):
        answer = await call("POST", "/v1/doc/c/put_batch", {"documents": documents})
        refused(answer, 422, "invalid_argument", words)
    for target, body in (("put_batch", {"documents": []}), ("delete_batch", {"ids": ["a"] * 257})):
        refused(await call("POST", f"/v1/doc/c/{target}", body), 400, "invalid_argument", "256")
    assert (await call("GET", "/v1/doc/c/a")).status == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "body"),
        (b'{"a":1e999}', 400, "out of range"),
        (b'{"a":NaN}', 400, "body"),
        (b'"\\ud800"', 400, "surrogate"),
        (b'"\xff"', 400, "UTF-8"),
        (b'"%b"' % (b"x" * 70_000), 413, "MAX_JSON_BYTES"),
        (b"[" * 65 + b"]" * 65, 400, "limits.document_depth_max"),
        (b"[" * 500 + b"]" * 500, 400, "128 levels"),
        (json.dumps(dict.fromkeys(map(str, range(5000)), 1)).encode(), 400, "5000 fields"),
    ],
)
async def test_what_cannot_be_a_document_is_refused(call: Caller, body, status, words):
    answer = await call("PUT", "/v1/doc/c/d", body=body)
    code = "payload_too_large" if status == 413 else "invalid_argument"
    refused(answer, status, code, words)
    assert call.database.last_offset == 0


async def test_long_names_are_refused(call: Caller):
    refused(await call("PUT", f"/v1/doc/c/{'d' * 129}", 1), 400, "invalid_argument", "MAX_ID_LEN")
    refused(await call("PUT", "/v1/doc/c/", 1), 400, "invalid_argument", "id")
    refused(await call("PUT", f"/v1/doc/{'c' * 65}/d", 1), 400, "invalid_argument", "collection")
    refused(await call("GET", "/v1/doc/.hidden/d"), 400, "invalid_argument", "collection")
    async with opened(limits=Limits(key_bytes_max=10)) as narrow:
        assert (await narrow("PUT", "/v1/doc/c/abcd", 1)).status == 200
        answer = await narrow("PUT", "/v1/doc/c/abcde", 1)
        refused(answer, 400, "invalid_argument", "MAX_KEY_LEN")


async def test_documents_are_commands_of_bulk(call: Caller):
    operations = [
        {"op": "doc_put", "collection": "c", "id": "a/b", "doc": {"n": 1}},
        {"op": "doc_put", "collection": "c", "id": "a/b", "doc": {"n": 1}, "if_revision": 0},
        {"op": "doc_patch", "collection": "c", "id": "a/b", "patch": {"m": 2}, "ttl_ms": 60_000},
        {"op": "doc_put", "collection": "a:b", "id": "c", "doc": 1},
        {"op": "doc_put", "collection": "c", "id": "e", "doc": 1, "op_id": "once"},
        {"op": "doc_put", "collection": "c", "id": "e", "doc": 1, "op_id": "once"},
        {"op": "doc_delete", "collection": "c", "id": "e"},
        {"op": "doc_put", "collection": "c", "id": "f", "document": 1},
    ]
    body = b"\n".join(json.dumps(each).encode() for each in operations)
    answer = await call("POST", "/v1/bulk", body=body)
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line.get("revision", line["status"]) for line in lines[:6]] == [
        1,
        "error",
        2,
        "error",
        1,
        1,
    ]
    assert lines[5]["repeated"]
    assert lines[6]["deleted"] is True
    assert reading(await call("GET", "/v1/doc/c/a/b"))["doc"] == {"n": 1, "m": 2}
    assert (await call("GET", "/v1/doc/c/f")).status == 404
