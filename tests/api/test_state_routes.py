"""State over HTTP: what a client sends and gets."""

from itertools import chain, pairwise

import attrs
import pytest

from kissvdb.api.state import handlers as state
from kissvdb.config import Limits, Stream
from tests.api.caller import IN_MEMORY, Caller, header, opened, reading, refused


async def test_put_get_and_delete_tell_revision_and_offset(call: Caller):
    answer = await call("PUT", "/v1/state/job:1", {"value": {"p": 1}})
    assert answer.body == b'{"key":"job:1","revision":1,"expires_at_ms":null,"offset":1}\n'
    answer = await call("PUT", "/v1/state/job:1", {"value": {"p": 2}, "ttl_ms": 60_000})
    written = reading(answer)
    assert (written["revision"], written["offset"]) == (2, 2)
    answer = await call("GET", "/v1/state/job:1")
    assert header(answer, "etag") == '"2"'
    assert reading(answer) == {**written, "value": {"p": 2}}
    answer = await call("DELETE", "/v1/state/job:1")
    assert answer.body == b'{"deleted":true,"offset":3}\n'
    answer = await call("DELETE", "/v1/state/job:1")
    assert (answer.status, answer.body) == (200, b'{"deleted":false,"offset":null}\n')
    refused(await call("GET", "/v1/state/job:1"), 404, "not_found", "job:1")


async def test_a_key_named_like_a_route_is_a_key(call: Caller):
    assert (await call("PUT", "/v1/state/batch_put", {"value": 1})).status == 200
    assert reading(await call("GET", "/v1/state/batch_put"))["key"] == "batch_put"


@pytest.mark.parametrize("length", [0, 513])
async def test_a_key_has_1_to_512_bytes(call: Caller, length):
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {} if method == "DELETE" else {"value": 1}
        answer = await call(method, f"/v1/state/{'k' * length}", body)
        refused(answer, 400, "invalid_argument", "key", "512")


async def test_key_length_counts_bytes_of_utf8(call: Caller):
    assert (await call("PUT", "/v1/state/" + "%C3%A9" * 256, {"value": 1})).status == 200
    refused(await call("PUT", "/v1/state/" + "%C3%A9" * 257, {"value": 1}), 400, "invalid_argument")


async def test_a_value_over_the_limit_is_a_413_that_names_the_setting():
    async with opened(limits=Limits(json_bytes_max=10)) as call:
        assert (await call("PUT", "/v1/state/k", {"value": "x" * 8})).status == 200
        answer = await call("PUT", "/v1/state/k", {"value": "x" * 9})
        refused(answer, 413, "payload_too_large", "11 bytes", "10", "MAX_JSON_BYTES")
        # Whitespace between tokens is not kept, so it does not count.
        assert (await call("PUT", "/v1/state/k", body=b'{"value":[1,   2,   3]}')).status == 200
        refused(await call("PATCH", "/v1/state/k", {"a": "x" * 9}), 413, "payload_too_large")


async def test_if_revision_and_if_offset_guard_a_write(call: Caller):
    refused(
        await call("PUT", "/v1/state/k", {"value": 1, "if_revision": 1}),
        409,
        "revision_mismatch",
        "does not exist",
    )
    assert (await call("PUT", "/v1/state/k", {"value": 1, "if_revision": 0})).status == 200
    refused(
        await call("PUT", "/v1/state/k", {"value": 2, "if_revision": 0}), 409, "revision_mismatch"
    )
    assert (await call("PUT", "/v1/state/k", {"value": 2, "if_offset": 1})).status == 200
    refused(await call("DELETE", "/v1/state/k?if_offset=1"), 409, "revision_mismatch")
    refused(await call("PATCH", "/v1/state/k?if_revision=1", {}), 409, "revision_mismatch")
    assert (await call("PATCH", "/v1/state/k?if_revision=2", {})).status == 200
    assert (await call("DELETE", "/v1/state/k?if_revision=3")).status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_if_match_answers_412(call: Caller, method):
    body = {} if method == "DELETE" else {"value": 1}

    async def write(**headers):
        return await call(method, "/v1/state/k", body, **headers)

    await call("PUT", "/v1/state/k", {"value": 0})
    for header_value in ('"2"', 'W/"1"', '"other"', '"2", "3"', '""', '"0"'):
        refused(await write(if_match=header_value), 412, "revision_mismatch")
    refused(await write(if_none_match="*"), 412, "revision_mismatch")
    for header_value in ("1", '"1', '"1" "2"', '"1",', "", "*, *"):
        refused(await write(if_match=header_value), 400, "invalid_argument", "If-Match")
    refused(await write(if_none_match='"1"'), 400, "invalid_argument", "If-None-Match")
    refused(await write(if_match='"1"', if_none_match="*"), 400, "invalid_argument")
    assert (await write(if_match='"1"')).status == 200


@pytest.mark.parametrize("tags", ["*", '"1"', '"9", "1"', 'W/"9","1"'])
async def test_if_match_lets_through_what_matches(call: Caller, tags):
    refused(await call("PUT", "/v1/state/k", {"value": 1}, if_match=tags), 412, "revision_mismatch")
    assert (await call("PUT", "/v1/state/k", {"value": 0}, if_none_match="*")).status == 200
    assert (await call("PUT", "/v1/state/k", {"value": 1}, if_match=tags)).status == 200


async def test_a_precondition_is_given_in_one_form_only(call: Caller):
    body = {"value": 1, "if_revision": 0}
    answer = await call("PUT", "/v1/state/k", body, if_none_match="*")
    refused(answer, 400, "invalid_argument", "either")


async def test_get_answers_304_to_who_has_it_already(call: Caller):
    await call("PUT", "/v1/state/k", {"value": 1})
    for tags in ('"1"', 'W/"1"', '"7", "1"', "*"):
        answer = await call("GET", "/v1/state/k", if_none_match=tags)
        assert (answer.status, answer.body, header(answer, "etag")) == (304, b"", '"1"')
    assert (await call("GET", "/v1/state/k", if_none_match='"2"')).status == 200
    refused(await call("GET", "/v1/state/k", if_none_match="1"), 400, "invalid_argument")
    refused(await call("GET", "/v1/state/none", if_none_match="*"), 404, "not_found")


async def test_patch_merges_and_keeps_the_time_to_live(call: Caller):
    await call("PUT", "/v1/state/job", {"value": {"a": 1, "b": {"c": 2}}, "ttl_ms": 60_000})
    expires_at_ms = reading(await call("GET", "/v1/state/job"))["expires_at_ms"]
    patch = {"a": None, "b": {"d": 3}}
    answer = await call(
        "PATCH", "/v1/state/job", patch, content_type="application/merge-patch+json"
    )
    assert reading(answer)["expires_at_ms"] == expires_at_ms
    assert reading(await call("GET", "/v1/state/job"))["value"] == {"b": {"c": 2, "d": 3}}
    answer = await call("PATCH", "/v1/state/job?ttl_ms=120000", {"e": 1})
    assert reading(answer)["expires_at_ms"] > expires_at_ms


@pytest.mark.parametrize(
    "query",
    [
        "ttl_ms=0",
        "ttl_ms=-1",
        "ttl_ms=1.5",
        f"ttl_ms={2**64}",
        f"ttl_ms={2**63}",
        "if_revision=x",
        "if_offset=-1",
        "a=%",
    ],
)
async def test_a_bad_query_is_a_400_and_writes_nothing(call: Caller, query):
    refused(await call("PATCH", f"/v1/state/k?{query}", {}), 400, "invalid_argument", "query")
    assert call.database.last_offset == 0


async def test_a_list_is_ordered_paged_and_true_at_an_offset(call: Caller):
    for key in ("b", "a%2F2", "a%2F1", "a%2F3", "%C3%A9"):
        await call("PUT", f"/v1/state/{key}", {"value": key})
    answer = await call("GET", "/v1/state?prefix=")
    assert [item["key"] for item in reading(answer)] == ["a/1", "a/2", "a/3", "b", "é"]
    assert header(answer, "kissvdb-offset") == "5"
    assert header(answer, "kissvdb-cursor") is None
    seen, cursor = [], ""
    while cursor is not None:
        answer = await call("GET", f"/v1/state?prefix=a/&limit=2&cursor={cursor}")
        seen += [item["key"] for item in reading(answer)]
        cursor = header(answer, "kissvdb-cursor")
    assert seen == ["a/1", "a/2", "a/3"]


async def test_a_list_is_limited_to_100_and_at_most_1000():
    async with opened(limits=Limits(state_batch_max=2000)) as call:
        operations = [{"key": f"k{number:04}", "value": 0} for number in range(1001)]
        await call("POST", "/v1/state/batch_put", {"operations": operations})
        assert len(reading(await call("GET", "/v1/state"))) == 100
        assert len(reading(await call("GET", "/v1/state?limit=99999"))) == 1000
        answer = await call("GET", "/v1/state?limit=0")
        assert (reading(answer), header(answer, "kissvdb-offset")) == ([], "1001")


async def test_a_patch_leaves_the_bytes_of_what_it_does_not_touch(call: Caller):
    value = b'{"a":0.10,"b":-0,"n":12345678901234567890.123,"\\u0061b":1E2}'
    await call("PUT", "/v1/state/k", body=b'{"value":%b}' % value)
    assert (await call("PATCH", "/v1/state/k", {"c": 1})).status == 200
    answer = await call("GET", "/v1/state/k")
    assert b'"value":%b,"c":1},' % value[:-1] in answer.body


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_write_with_create_false_brings_no_key_back(method):
    now_ms = [1_000_000]
    async with opened(clock_ms=lambda: now_ms[0]) as call:
        body = {"value": 1} if method == "PUT" else {"seen": 2}

        async def renew(query="create=false", **headers):
            return await call(method, f"/v1/state/session?{query}", body, **headers)

        refused(await renew(), 404, "not_found", "session", "create=false")
        await call("PUT", "/v1/state/session", {"value": {"seen": 1}, "ttl_ms": 100})
        assert (await renew()).status == 200
        await call("PUT", "/v1/state/session", {"value": {"seen": 1}, "ttl_ms": 100})
        now_ms[0] += 100
        refused(await renew(), 404, "not_found", "expired")
        refused(await renew("", if_match="*"), 412, "revision_mismatch")
        refused(await renew(if_match='"2"'), 412, "revision_mismatch")
        refused(await renew("create=no"), 400, "invalid_argument", "query.create")
        refused(await renew(if_none_match="*"), 400, "invalid_argument", "create")
        refused(await call("GET", "/v1/state/session"), 404, "not_found")
        assert (await renew("create=true")).status == 200


async def test_a_page_ends_before_it_grows_too_large(call: Caller, monkeypatch):
    monkeypatch.setattr(state, "LIST_BYTES_MAX", 300)
    for number in range(6):
        await call("PUT", f"/v1/state/k{number}", {"value": "x" * (1000 if number == 3 else 10)})
    pages, cursor = [], ""
    while cursor is not None:
        answer = await call("GET", f"/v1/state?cursor={cursor}")
        pages.append([item["key"] for item in reading(answer)])
        cursor = header(answer, "kissvdb-cursor")
    assert list(chain.from_iterable(pages)) == [f"k{number}" for number in range(6)]
    assert ["k3"] in pages


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=-1", "cursor=%21", "cursor=_w", "prefix=%ff", "prefix=" + "p" * 513]
)
async def test_a_bad_list_query_is_a_400(call: Caller, query):
    refused(await call("GET", f"/v1/state?{query}"), 400, "invalid_argument", "query")


async def test_a_batch_answers_each_in_order(call: Caller):
    await call("PUT", "/v1/state/b", {"value": 0})
    operations = [
        {"key": "a", "value": 1},
        {"key": "b", "value": 1, "if_revision": 5},
        {"key": "", "value": 1},
        {"key": "c", "value": "x" * 70_000},
        {"key": "a", "value": None, "ttl_ms": 60_000},
    ]
    results = reading(await call("POST", "/v1/state/batch_put", {"operations": operations}))[
        "results"
    ]
    assert [result["status"] for result in results] == ["ok", "error", "error", "error", "ok"]
    assert [result["key"] for result in results] == ["a", "b", "", "c", "a"]
    assert [result.get("revision") for result in results] == [1, None, None, None, 2]
    codes = [result["error"]["error"] for result in results if "error" in result]
    assert codes == ["revision_mismatch", "invalid_argument", "payload_too_large"]
    assert results[4]["offset"] == results[0]["offset"] + 1


async def test_a_batch_of_nothing_but_keys_and_values_is_answered_like_any_other(call: Caller):
    odd = ["plain", 'quote"', "back\\slash", "ü", "tab\t", "plain", "ending"]
    await call("PUT", "/v1/state/ending", {"value": 1, "ttl_ms": 60_000})
    operations = [{"key": key, "value": {"n": n, "s": "a b"}} for n, key in enumerate(odd)]
    answers = []
    for more in ({}, {"ttl_ms": None}, {"op_id": "by-itself"}):
        asked = [*operations, operations[0] | more]
        answer = await call("POST", "/v1/state/batch_put", {"operations": asked})
        answers.append(reading(answer)["results"])
    assert [each["key"] for each in answers[0]] == [*odd, "plain"]
    assert [each["revision"] for each in answers[0]] == [1, 1, 1, 1, 1, 2, 2, 3]
    for before, after in pairwise(answers):
        assert [each.keys() for each in before] == [each.keys() for each in after]
        assert [each["offset"] + 8 for each in before] == [each["offset"] for each in after]
    ending = reading(await call("GET", "/v1/state/ending"))
    assert (ending["value"], ending["expires_at_ms"]) == ({"n": 6, "s": "a b"}, None)
    body = b'{"operations":[{"key":"a","value":1},{"key":"deep","value":%b}]}'
    nested = body % (b"[" * 300 + b"]" * 300)
    refused(await call("POST", "/v1/state/batch_put", body=nested), 400, "invalid_argument")
    assert (await call("GET", "/v1/state/a")).status == 404


@pytest.mark.parametrize("count", [0, 257])
async def test_a_batch_has_1_to_256_operations(call: Caller, count):
    operations = [{"key": f"k{number}", "value": 0} for number in range(count)]
    answer = await call("POST", "/v1/state/batch_put", {"operations": operations})
    refused(answer, 400, "invalid_argument", f"not {count}")
    assert call.database.last_offset == 0


async def test_a_malformed_operation_rejects_the_whole_batch(call: Caller):
    good = {"key": "a", "value": 1}
    for bad, status in (
        ({"key": "b"}, 422),
        ({"key": "b", "value": 1, "ttl_ms": 0}, 422),
        (7, 422),
    ):
        answer = await call("POST", "/v1/state/batch_put", {"operations": [good, bad]})
        refused(answer, status, "invalid_argument", "operations[1]")
    body = b'{"operations":[{"key":"a","value":1},{"key":"b","value":1e999}]}'
    refused(await call("POST", "/v1/state/batch_put", body=body), 400, "invalid_argument")
    assert call.database.last_offset == 0


async def test_a_time_to_live_may_be_very_long(call: Caller):
    answer = await call("PUT", "/v1/state/far", {"value": 1, "ttl_ms": 2**62})
    assert reading(answer)["expires_at_ms"] > 2**62


async def test_a_key_is_found_again_whatever_shard_it_is_on():
    config = attrs.evolve(IN_MEMORY, state=attrs.evolve(IN_MEMORY.state, shards=4))
    async with opened(config) as call:
        operations = [{"key": f"k{number:02}", "value": number} for number in range(40)]
        answer = await call("POST", "/v1/state/batch_put", {"operations": operations})
        assert [each["key"] for each in reading(answer)["results"]] == [
            operation["key"] for operation in operations
        ]
        answer = await call("GET", "/v1/state?limit=7&prefix=k")
        assert [item["value"] for item in reading(answer)] == list(range(7))


async def test_a_key_and_a_list_can_be_read_as_they_were(call: Caller):
    for value in (1, 2):
        for key in "ab":
            assert (await call("PUT", f"/v1/state/{key}", {"value": value})).status == 200
    assert (await call("DELETE", "/v1/state/a")).status == 200
    answer = await call("GET", "/v1/state/a?at=1")
    assert (reading(answer)["value"], header(answer, "etag")) == (1, '"1"')
    assert reading(await call("GET", "/v1/state/a?at=3"))["value"] == 2
    refused(await call("GET", "/v1/state/a?at=5"), 404, "not_found")
    refused(await call("GET", "/v1/state/b?at=1"), 404, "not_found")
    refused(await call("GET", "/v1/state/b?at=6"), 400, "invalid_argument", "query.at", "is 5")
    refused(await call("GET", "/v1/state/b?at=x"), 400, "invalid_argument", "query.at")
    answer = await call("GET", "/v1/state?at=3")
    assert [(each["key"], each["value"]) for each in reading(answer)] == [("a", 2), ("b", 1)]
    assert header(answer, "kissvdb-offset") == "3"
    first = await call("GET", "/v1/state?at=3&limit=1")
    second = await call("GET", f"/v1/state?at=3&limit=1&cursor={header(first, 'kissvdb-cursor')}")
    assert [each["key"] for each in reading(second)] == ["b"]


async def test_a_document_can_be_read_as_it_was(call: Caller):
    for n in (1, 2):
        assert (await call("PUT", "/v1/doc/c/d", {"n": n})).status == 200
    assert reading(await call("GET", "/v1/doc/c/d?at=1"))["doc"] == {"n": 1}
    assert reading(await call("GET", "/v1/doc/c/d"))["doc"] == {"n": 2}


async def test_what_the_log_does_not_tell_any_more_is_a_410_with_the_oldest_offset_it_does():
    async with opened(stream=Stream(ring_events=16)) as call:
        for n in range(40):
            await call.database.put("k", n)
        answer = await call("GET", "/v1/state/k?at=5")
        refused(answer, 410, "offset_truncated", "oldest offset")
        oldest = int(header(answer, "kissvdb-offset"))
        answer = await call("GET", f"/v1/state/k?at={oldest + 1}")
        assert reading(answer)["value"] == oldest
