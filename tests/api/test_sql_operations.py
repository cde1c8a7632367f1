"""SQL among the operations of /v1/batch and /v1/bulk."""

import json

import pytest

from kissvdb.config import Sql
from tests.api.caller import opened, reading, refused

MADE = {"op": "sql", "sql": "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)"}
PUT = {"op": "put", "key": "k", "value": 1}


def insert(*params, **more):
    return {"op": "sql", "sql": "INSERT INTO t(a) VALUES (?)", "params": list(params), **more}


async def batch(call, *operations, **more):
    return await call("POST", "/v1/batch", {"operations": list(operations), **more})


async def bulk(call, *operations):
    body = b"\n".join(json.dumps(each).encode() for each in operations)
    answer = await call("POST", "/v1/bulk", body=body, content_type="application/x-ndjson")
    return [json.loads(line) for line in answer.body.splitlines()]


@pytest.fixture
async def call():
    async with opened() as caller:
        assert (await batch(caller, MADE)).status == 200
        yield caller


async def test_rows_and_keys_are_written_together_or_not_at_all(call):
    answer = reading(await batch(call, PUT, insert("x"), insert(None)))
    # A mark, a key, and twice what was executed with its row.
    assert (answer["first_offset"], answer["last_offset"]) == (2, 7)
    assert answer["results"] == [
        {"offset": 3, "revision": 1},
        {"offset": 5, "rows_affected": 1},
        {"offset": 7, "rows_affected": 1},
    ]
    answer = await batch(call, PUT, insert("y"), insert("x"))
    assert (answer.status, reading(answer)["error"]) == (400, "sqlite_error")
    assert reading(answer)["operation"] == 2
    assert "UNIQUE constraint failed: t.a" in reading(answer)["message"]
    assert reading(await call("GET", "/v1/state/k"))["revision"] == 1


async def test_a_batch_sent_again_is_answered_again(call):
    first = reading(await batch(call, insert("x"), PUT, op_id="b"))
    again = reading(await batch(call, insert("x"), PUT, op_id="b"))
    assert again == first | {"repeated": True}
    refused(await batch(call, insert("y"), PUT, op_id="b"), 409, "op_id_reused")


async def test_lines_of_a_bulk_are_each_for_itself(call):
    found = await bulk(call, insert("x"), insert("x"), PUT, insert("z", op_id="1"))
    assert [each["status"] for each in found] == ["ok", "error", "ok", "ok"]
    assert found[1]["error"]["error"] == "sqlite_error"
    assert found[0]["rows_affected"] == 1
    again = await bulk(call, insert("z", op_id="1"), insert("w", op_id="1"))
    assert again[0] == found[3] | {"repeated": True}
    assert again[1]["error"]["error"] == "op_id_reused"


async def test_parameters_that_no_column_holds_are_refused(call):
    for bad in ([], {"a": 1}, 2**63, 2**70):
        (found,) = await bulk(call, insert(bad))
        assert found["error"]["error"] == "sqlite_error", bad
    refused_names = {**insert(), "params": {"a": 1}}
    assert (await bulk(call, refused_names))[0]["error"]["error"] == "sqlite_error"


async def test_what_changes_too_much_beside_others_is_refused(call):
    many = {
        "op": "sql",
        "sql": "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1001)"
        " INSERT INTO t(a) SELECT i FROM n",
    }
    answer = await batch(call, PUT, many)
    assert (answer.status, reading(answer)["error"]) == (413, "payload_too_large")
    assert (await batch(call, many)).status == 200


async def test_switched_off_there_is_no_sql():
    async with opened(sql=Sql(enabled=False)) as call:
        answer = await batch(call, PUT, MADE)
        assert (answer.status, reading(answer)["error"]) == (404, "not_enabled")
        assert (await bulk(call, MADE))[0]["error"]["error"] == "not_enabled"
        assert call.database.sql is None
