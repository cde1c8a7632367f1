"""SQL over HTTP: what is answered, in which types, and how it is refused."""

import json

import attrs
import pytest

from kissvdb.config import Search, Sql
from tests.api.caller import IN_MEMORY, opened, reading, refused

QUICK = attrs.evolve(IN_MEMORY, search=Search(compile=False))


@pytest.fixture
async def call():
    async with opened(QUICK) as caller:
        yield caller


async def execute(call, sql, params=None, **more):
    answer = await call("POST", "/v1/sql/exec", {"sql": sql, "params": params, **more})
    assert answer.status == 200, answer.body
    return reading(answer)


async def query(call, sql, params=None, *, target="/v1/sql/query", **more):
    answer = await call("POST", target, {"sql": sql, "params": params, **more})
    assert answer.status == 200, answer.body
    return reading(answer)


async def refusal(call, sql, *expected, route="query", **more):
    refused(await call("POST", f"/v1/sql/{route}", {"sql": sql, **more}), *expected)


async def lines(answer):
    """The lines of a streamed answer."""
    assert answer.status == 200
    assert answer.content_type == "application/x-ndjson"
    text = b"".join([blob async for blob in answer.body])
    await answer.body.aclose()
    return [json.loads(line) for line in text.splitlines()]


async def test_what_is_written_is_read(call):
    made = await execute(call, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    assert (made["rows_affected"], made["changes"]) == (0, 0)
    done = await execute(call, "INSERT INTO t(name) VALUES (?), (?)", ["a", "b"])
    assert (done["rows_affected"], done["changes"], done["repeated"]) == (2, 2, False)
    found = await query(call, "SELECT * FROM t WHERE name = :name", {"name": "b"})
    expected = {"rows": [{"id": 2, "name": "b"}], "columns": ["id", "name"], "truncated": False}
    assert found == expected | {"offset": done["offset"]}
    assert call.database.last_offset == done["offset"]


async def test_values_have_the_types_of_the_contract(call):
    sql = "SELECT ? AS i, ? AS r, ? AS t, ? AS n, ? AS b, x'00ff10' AS blob, 9e999 AS inf, x'' AS e"
    found = await query(call, sql, [2**53 + 1, 0.5, 'a"é\u0000', None, True])
    assert found["rows"] == [
        {
            "i": 2**53 + 1,
            "r": 0.5,
            "t": 'a"é\u0000',
            "n": None,
            "b": 1,
            "blob": "AP8Q",
            "inf": None,
            "e": "",
        }
    ]
    assert (await query(call, "SELECT -0.0 AS r, 1.0 AS s"))["rows"] == [{"r": -0.0, "s": 1.0}]
    sql = "SELECT typeof(?) a, typeof(?) b, typeof(?) c, typeof(?) d, typeof(?) e"
    found = await query(call, sql, [1, 1.0, "1", None, False])
    assert list(found["rows"][0].values()) == ["integer", "real", "text", "null", "integer"]


async def test_parameters_by_name_with_and_without_their_mark(call):
    found = await query(call, "SELECT :a AS a, @b AS b, $c AS c", {":a": 1, "b": 2, "$c": 3})
    assert found["rows"] == [{"a": 1, "b": 2, "c": 3}]


@pytest.mark.parametrize("params", [[[1]], [{"a": 1}], {"a": [1]}, "text", 5])
async def test_parameters_that_sqlite_has_no_type_for(call, params):
    await refusal(call, "SELECT ?", 400, "sqlite_error", "params", params=params)


async def test_what_sqlite_refuses(call):
    await refusal(call, "SELECT FROM", 400, "sqlite_error", "syntax error")
    await refusal(call, "SELECT * FROM missing", 400, "sqlite_error", "missing")
    await refusal(call, "SELECT ?", 400, "sqlite_error", "params")
    await refusal(call, "SELECT ?", 400, "sqlite_error", "64 bits", params=[2**64])
    await refusal(call, "INSERT INTO missing VALUES (1)", 400, "sqlite_error", route="exec")


@pytest.mark.parametrize(
    "sql",
    ["INSERT INTO t VALUES (1)", "PRAGMA user_version", "EXPLAIN SELECT 1", "", "  ", "BEGIN", "x"],
)
async def test_what_is_no_query_is_told_where_to_go(call, sql):
    await refusal(call, sql, 400, "invalid_argument", "/v1/sql/exec")


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 AS a",
        " \n SELECT 1 AS a",
        "/* c */ -- d\nVALUES (1)",
        "WITH b AS (SELECT 1) SELECT * FROM b",
    ],
)
async def test_queries_may_begin_with_comments(call, sql):
    assert len((await query(call, sql))["rows"]) == 1


async def test_a_query_that_writes_is_told_so(call):
    await execute(call, "CREATE TABLE t(a)")
    sql = "WITH b AS (SELECT 1) INSERT INTO t SELECT * FROM b"
    await refusal(call, sql, 400, "invalid_argument", "/v1/sql/exec")
    assert (await query(call, "SELECT count(*) AS n FROM t"))["rows"] == [{"n": 0}]


async def test_rows_beyond_the_limit_are_left_out_and_it_is_said(call):
    sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 50) SELECT x FROM c"
    found = await query(call, sql, rows_max=10)
    assert (len(found["rows"]), found["truncated"]) == (10, True)
    found = await query(call, sql, rows_max=50)
    assert (len(found["rows"]), found["truncated"]) == (50, False)
    assert (await query(call, sql, rows_max=0))["rows"] == []
    refused(
        await call("POST", "/v1/sql/query", {"sql": sql, "rows_max": 10**6}),
        422,
        "invalid_argument",
        "sql.query_rows_max",
    )


async def test_time_is_bounded(call):
    sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
    await refusal(call, sql, 408, "timeout", "50 ms", timeout_ms=50)


async def test_the_plan_in_place_of_the_rows(call):
    await execute(call, "CREATE TABLE t(a PRIMARY KEY NOT NULL, b)")
    found = await query(call, "SELECT b FROM t WHERE a = ?", [1], explain=True)
    assert "USING INDEX" in found["rows"][0]["detail"]


async def test_lines_as_they_are_read(call):
    sql = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 25000) "
        "SELECT x, x'01' AS b, 2 AS x FROM c"
    )
    answer = await call("POST", "/v1/sql/query", {"sql": sql, "format": "ndjson"})
    head, *rows, end = await lines(answer)
    assert head == {"columns": ["x", "b", "x:1"], "offset": 0}
    assert rows == [[n, "AQ", 2] for n in range(1, 25_001)]
    assert end == {"rows": 25_000, "truncated": False}
    answer = await call("POST", "/v1/sql/query", {"sql": sql}, accept="application/x-ndjson")
    assert len(await lines(answer)) == 25_002


async def test_lines_that_break_off_say_why(call):
    sql = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) "
        "SELECT iif(x < 5000, x, abs(-9223372036854775808)) FROM c"
    )
    answer = await call("POST", "/v1/sql/query", {"sql": sql, "format": "ndjson"})
    *_, end = await lines(answer)
    assert end["error"] == "sqlite_error"
    assert "overflow" in end["message"]


async def test_lines_are_refused_as_any_answer_before_the_first(call):
    await refusal(call, "SELECT * FROM missing", 400, "sqlite_error", format="ndjson")


async def test_a_client_that_leaves_ends_its_statement(call):
    sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c"
    answer = await call("POST", "/v1/sql/query", {"sql": sql, "format": "ndjson"})
    await anext(answer.body)
    assert call.database.sql.readers.busy == 1
    await answer.body.aclose()
    assert call.database.sql.readers.busy == 0


async def test_several_statements_happen_together(call):
    await execute(call, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    insert = {"sql": "INSERT INTO t(b) VALUES (:b)", "params": {"b": "x"}}
    update = {"sql": "UPDATE t SET b = b || ?", "params": ["y"]}
    answer = await call("POST", "/v1/sql/batch", {"statements": [insert, insert, update]})
    found = reading(answer)
    assert (found["rows_affected"], found["changes"], found["repeated"]) == ([1, 1, 2], 2, False)
    assert found["offset"] == call.database.last_offset
    bad = {"statements": [insert, {"sql": "INSERT INTO t VALUES (1, 1)"}]}
    refused(await call("POST", "/v1/sql/batch", bad), 400, "sqlite_error", "statements[1]")
    refused(await call("POST", "/v1/sql/batch", {"statements": []}), 400, "invalid_argument")
    assert (await query(call, "SELECT b FROM t"))["rows"] == [{"b": "xy"}, {"b": "xy"}]


async def test_a_repeat_is_answered_and_not_done_again(call):
    await execute(call, "CREATE TABLE t(a)")
    first = await execute(call, "INSERT INTO t VALUES (?)", [1], op_id="once")
    again = await execute(call, "INSERT INTO t VALUES (?)", [1], op_id="once")
    assert again == first | {"repeated": True}
    other = {"sql": "INSERT INTO t VALUES (2)", "op_id": "once"}
    refused(await call("POST", "/v1/sql/exec", other), 409, "op_id_reused")
    assert (await query(call, "SELECT a FROM t"))["rows"] == [{"a": 1}]


async def test_a_query_waits_for_an_offset(call):
    await execute(call, "CREATE TABLE t(a)")
    offset = (await execute(call, "INSERT INTO t VALUES (1)"))["offset"]
    found = await query(call, "SELECT a FROM t", target=f"/v1/sql/query?min_offset={offset}")
    assert (found["rows"], found["offset"]) == ([{"a": 1}], offset)
    late = f"/v1/sql/query?min_offset={offset + 1}&timeout_ms=1"
    refused(await call("POST", late, {"sql": "SELECT 1"}), 503, "offset_not_reached")


async def test_one_select_over_everything(call):
    await execute(call, "CREATE TABLE users(id TEXT PRIMARY KEY NOT NULL, name TEXT)")
    await execute(call, "INSERT INTO users VALUES ('a', 'Ann')")
    await call("PUT", "/v1/state/visits:a", {"value": {"n": 3}})
    await call("PUT", "/v1/doc/notes/a", {"title": "Hello"})
    found = await query(
        call,
        "SELECT u.name, s.value ->> 'n' AS visits, d.doc ->> 'title' AS title FROM users u "
        "JOIN state s ON s.key = 'visits:' || u.id JOIN documents('notes') d ON d.id = u.id",
    )
    assert found["rows"] == [{"name": "Ann", "visits": 3, "title": "Hello"}]
    assert found["offset"] == call.database.last_offset


async def test_the_schema(call):
    await execute(
        call,
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x',"
        " low TEXT AS (lower(name))) STRICT",
    )
    await execute(
        call,
        "CREATE TABLE own(user REFERENCES users(id), n REAL, PRIMARY KEY(n DESC)) WITHOUT ROWID",
    )
    await execute(call, "CREATE UNIQUE INDEX named ON users(name, lower(name)) WHERE name > ''")
    await execute(call, "CREATE VIEW v AS SELECT name FROM users")
    await execute(call, "CREATE VIRTUAL TABLE words USING fts5(text)")
    found = reading(await call("GET", "/v1/sql/schema"))
    tables = {each["name"]: each for each in found["tables"]}
    assert list(tables) == ["own", "users", "v", "words"]
    assert [each["kind"] for each in tables.values()] == ["table", "table", "view", "virtual"]
    columns = [
        (each["name"], each["type"], each["not_null"], each["default"], each["primary_key"])
        for each in tables["users"]["columns"]
    ]
    assert columns[:2] == [("id", "INTEGER", False, None, 1), ("name", "TEXT", True, "'x'", 0)]
    assert [each["generated"] for each in tables["users"]["columns"]] == [False, False, True]
    assert (tables["users"]["strict"], tables["own"]["without_rowid"]) == (True, True)
    assert tables["users"]["indexes"] == [
        {"name": "named", "unique": True, "partial": True, "columns": ["name", None]}
    ]
    assert tables["own"]["foreign_keys"] == [{"column": "user", "table": "users", "to": "id"}]
    assert tables["v"]["sql"] == "CREATE VIEW v AS SELECT name FROM users"
    assert found["offset"] == call.database.last_offset


async def test_the_schema_where_a_view_lost_its_table(call):
    for sql in ("CREATE TABLE t(a)", "CREATE VIEW v AS SELECT * FROM t", "DROP TABLE t"):
        assert (await call("POST", "/v1/sql/exec", {"sql": sql})).status == 200
    tables = reading(await call("GET", "/v1/sql/schema"))["tables"]
    assert [(each["name"], each["columns"]) for each in tables] == [("v", [])]


async def test_switched_off_it_is_not_there():
    async with opened(QUICK, sql=Sql(enabled=False)) as call:
        for method, route, body in (
            ("POST", "query", {"sql": "SELECT 1"}),
            ("POST", "exec", {"sql": "CREATE TABLE t(a)"}),
            ("POST", "batch", {"statements": [{"sql": "CREATE TABLE t(a)"}]}),
        ):
            answer = await call(method, f"/v1/sql/{route}", body)
            refused(answer, 404, "not_enabled", "sql.enabled")
        refused(await call("GET", "/v1/sql/schema"), 404, "not_enabled", "sql.enabled")


async def test_what_nobody_reads_is_refused(call):
    await refusal(call, "SELECT 1", 422, "invalid_argument", "did you mean", parms=[])
    await refusal(call, "SELECT 1", 422, "invalid_argument", "format", format="xml")
