"""SQL of a key of some tables: what it is told is the same whatever else there is."""

import re

from kissvdb.api.frame.principal import Scope
from tests.api.caller import message
from tests.api.keyed import keyed
from tests.api.tenants import grants

MINE = ("CREATE TABLE a_t(x, y)", "CREATE INDEX a_i ON a_t(x)", "INSERT INTO a_t VALUES (1, 2)")
THEIRS = (
    "CREATE TABLE b_t(x, secret)",
    "CREATE INDEX b_i ON b_t(x)",
    "CREATE VIEW b_v AS SELECT * FROM b_t",
    "CREATE TRIGGER b_g AFTER INSERT ON b_t BEGIN DELETE FROM b_t WHERE x = 0; END",
    "INSERT INTO b_t VALUES (1, 2)",
)
QUERIES = (
    *(
        "SELECT * FROM b_t",
        "SELECT 1 FROM b_t",
        "SELECT count(*) FROM B_T",
        "SELECT secret FROM b_t",
    ),
    *("SELECT none FROM b_t", "SELECT b_t.secret FROM a_t, b_t", "SELECT * FROM b_v"),
    *("SELECT x FROM a_t JOIN b_t USING (secret)", "SELECT x FROM a_t WHERE x IN b_t"),
    *("SELECT 1 FROM a_t INDEXED BY b_i", "SELECT (SELECT secret FROM b_t) FROM a_t"),
    *("SELECT * FROM pragma_table_info('b_t')", "SELECT * FROM sqlite_schema"),
    *("WITH b_t AS (SELECT 3 AS z) SELECT z FROM b_t", "SELECT typo FROM a_t", "SELEC"),
    *(
        "SELECT typo FROM a_t, b_t",
        "SELECT * FROM main.b_t",
        "SELECT * FROM a_t",
        "SELECT * FROM b_",
    ),
    *("SELECT count(*) FROM events WHERE type LIKE 'sql%'", "SELECT none FROM events, b_t"),
)
WRITES = (
    *("INSERT INTO b_t VALUES (1, 2)", "INSERT INTO b_t VALUES (1)", "UPDATE b_t SET none = 1"),
    *("UPDATE b_t SET secret = 1", "DELETE FROM b_t WHERE none = 1", "DROP TABLE b_t"),
    *("DROP INDEX b_i", "DROP VIEW b_v", "DROP TRIGGER b_g", "CREATE TABLE b_t(x)"),
    *("CREATE INDEX b_i ON a_t(x)", "CREATE INDEX b_t ON a_t(x)", "CREATE INDEX a_j ON b_t(x)"),
    *("ALTER TABLE a_t RENAME TO b_t", "ALTER TABLE b_t ADD z", "ALTER TABLE b_t RENAME x TO z"),
    *("INSERT INTO a_t SELECT secret, 1 FROM b_t", "INSERT INTO a_t SELECT none, 1 FROM b_t"),
    *("CREATE TABLE a_u(x REFERENCES b_t)", "CREATE TABLE a_u(x REFERENCES b_t(secret))"),
    *("UPDATE a_t SET x = (SELECT secret FROM b_t)", "INSERT INTO a_t VALUES (1)"),
    *("CREATE TRIGGER a_g AFTER INSERT ON a_t BEGIN DELETE FROM b_t; END", "REINDEX b_i"),
    *("CREATE VIEW a_v AS SELECT * FROM b_t", "DELETE FROM a_t; SELECT none FROM b_t"),
    *("DROP INDEX IF EXISTS b_i", "DROP VIEW IF EXISTS b_v", "DROP TRIGGER IF EXISTS b_g"),
    *("DROP TABLE IF EXISTS b_t", "CREATE TABLE IF NOT EXISTS b_t(x)", "UPDATE a_t SET x = 5"),
)

# Of the tables that are not SQL's own.
THEIR_DATA = (
    ("PUT", "/v1/doc/b_c/1", {"t": "word"}),
    ("POST", "/v1/vector/b_c", {"dim": 2}),
    ("POST", "/v1/vector/b_c/upsert", {"id": "1", "vector": [1, 0], "text": "word"}),
    ("PUT", "/v1/state/b:1", {"value": 1}),
    ("POST", "/v1/events", {"type": "b.t", "data": 1, "key": "b:1"}),
)
ON_DATA = (
    *("SELECT * FROM documents('b_c')", "SELECT * FROM documents WHERE collection = 'b_c'"),
    *("SELECT * FROM vectors('b_c')", "SELECT * FROM vector_search('b_c', '[1,0]', 3)"),
    *("SELECT * FROM text_search('b_c', 'word', 3)", "SELECT none FROM documents('b_c')"),
    *("SELECT * FROM hybrid_search('b_c', 'word', 3)", "SELECT count(*) FROM state"),
    *("SELECT * FROM state WHERE key = 'b:1'", "SELECT * FROM state WHERE key GLOB 'b:*'"),
    *("SELECT * FROM state WHERE key = 'doc:b_c:1'", "SELECT type, key FROM events"),
)


async def told(setup, data=()):
    """All that the key is answered, by statement."""
    answers = {}
    async with keyed(a=(Scope.ADMIN, grants("a")), root=(Scope.ADMIN, None)) as keys:
        for request in (("PUT", "/v1/state/a:1", {"value": 1}), *data):
            assert (await keys("root")(*request)).status == 200
        for sql in (*MINE, *setup):
            assert (await keys("root")("POST", "/v1/sql/exec", {"sql": sql})).status == 200
        for path, statements in (("query", (*QUERIES, *ON_DATA)), ("exec", WRITES)):
            for sql in statements:
                answer = await keys("a")("POST", f"/v1/sql/{path}", {"sql": sql})
                body = re.sub(rb'"offset":\d+', b"", answer.body)
                answers[sql] = (answer.status, body)
        assert (await keys("a")("GET", "/v1/sql/schema")).body.count(b'"name":"a_t"') == 1
    return answers


async def test_what_a_key_is_told_is_the_same_whatever_else_there_is():
    alone, beside = await told(()), await told(THEIRS, THEIR_DATA)
    assert beside == alone
    for sql in ("SELECT * FROM b_t", "DROP TABLE b_t", "CREATE INDEX b_i ON a_t(x)"):
        assert beside[sql][0] == 403, sql
    # Of its own tables it hears what SQLite says.
    assert b"no such column: typo" in beside["SELECT typo FROM a_t"][1]
    assert b"has 2 columns but 1 values" in beside["INSERT INTO a_t VALUES (1)"][1]
    assert beside["UPDATE a_t SET x = 5"][0] == beside["SELECT * FROM a_t"][0] == 200


async def test_a_refusal_names_what_was_asked_for():
    async with keyed(a=(Scope.ADMIN, grants("a"))) as keys:
        answer = await keys("a")("POST", "/v1/sql/query", {"sql": "SELECT 1 FROM b_t"})
        assert "'b_t'" in message(answer)


async def test_a_key_makes_tables_with_all_constraints():
    async with keyed(a=(Scope.ADMIN, grants("a")), root=(Scope.ADMIN, None)) as keys:
        for sql, status in (
            ("CREATE TABLE a_t(id TEXT PRIMARY KEY NOT NULL, x UNIQUE)", 200),
            ("INSERT INTO a_t VALUES ('one', 1)", 200),
            ("CREATE TABLE b_t(id TEXT PRIMARY KEY NOT NULL)", 403),
            ("CREATE INDEX sqlite_autoindex_b_1 ON a_t(x)", 400),
            ("DROP INDEX sqlite_autoindex_b_t_1", 403),
            ("DROP TABLE a_t", 200),
        ):
            answer = await keys("a")("POST", "/v1/sql/exec", {"sql": sql})
            assert answer.status == status, (sql, answer.body)


async def test_a_spatial_index_is_read_by_who_may():
    async with keyed(a=(Scope.ADMIN, grants("a")), root=(Scope.ADMIN, None)) as keys:
        for name in ("a_box", "b_box"):
            for sql in (
                f"CREATE VIRTUAL TABLE {name} USING rtree(id, x0, x1)",
                f"INSERT INTO {name} VALUES (1, 0, 2)",
            ):
                assert (await keys("root")("POST", "/v1/sql/exec", {"sql": sql})).status == 200

        async def status(key, sql):
            return (await keys(key)("POST", "/v1/sql/query", {"sql": sql})).status

        for key in ("a", "root"):
            assert await status(key, "SELECT id FROM a_box WHERE x0 < 1") == 200
            assert (await keys(key)("GET", "/v1/sql/schema")).status == 200
            writes = "WITH w AS (SELECT 1) INSERT INTO a_box_node SELECT 9, x'00' FROM w"
            assert await status(key, writes) == 400
        assert await status("root", "SELECT id FROM b_box") == 200
        there = "WITH w AS (SELECT 1) INSERT INTO {}_node SELECT 9, x'00' FROM w"
        assert await status("a", "SELECT id FROM b_box") == 403
        assert await status("a", there.format("b_box")) == await status("a", there.format("b_c"))


async def test_an_alteration_names_no_broken_view_of_others():
    async with keyed(a=(Scope.ADMIN, grants("a")), root=(Scope.ADMIN, None)) as keys:
        for sql in (*MINE, *THEIRS[:3], "DROP TABLE b_t"):
            assert (await keys("root")("POST", "/v1/sql/exec", {"sql": sql})).status == 200
        for sql in ("ALTER TABLE a_t RENAME COLUMN x TO z", "ALTER TABLE a_t DROP COLUMN y"):
            answer = await keys("a")("POST", "/v1/sql/exec", {"sql": sql})
            assert answer.status == 400
            assert "b_" not in message(answer)
