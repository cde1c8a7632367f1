"""Statements that are meant to hurt: each is refused, or bounded in time and memory.

Through the HTTP door of a server in a process of its own, whose memory is looked at. How quick
others are meanwhile: bench/sql_attacks.py.
"""

import time
from pathlib import Path

import httpx
import pytest

from kissvdb.config import Config, Limits, Search, Server, Sql, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

TIMEOUT_MS = 150
SECONDS_MAX = 20
"""Far more than any takes, far less than one that is not stopped."""

GROWTH_MAX = 300_000_000

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) "
A_MEGABYTE = "a" * 900_000
HALF = "a" * 400_000 + "b"
MANY = "+".join(["x"] * 150)


def endless(what):
    return f"{ENDLESS}SELECT {what} FROM c"


def chained(term, count, glue="+"):
    return "SELECT " + ", ".join([glue.join([term] * 90)] * (count // 90))


REFUSED = {
    "attach": "ATTACH 'x.db' AS x",
    "attach in a with": "WITH a AS (SELECT 1) ATTACH 'x.db' AS x",
    "detach": "DETACH main",
    "pragma": "PRAGMA journal_mode=DELETE",
    "pragma as a table": "SELECT * FROM pragma_journal_mode",
    "pragma that reads": "SELECT * FROM pragma_database_list",
    "pragma of functions": "SELECT * FROM pragma_function_list",
    "writable_schema": "SELECT * FROM pragma_writable_schema",
    "load_extension": "SELECT load_extension('x')",
    "load_extension in a subquery": "SELECT 1 WHERE EXISTS (SELECT load_extension('x', 'y'))",
    "fts3_tokenizer": "SELECT fts3_tokenizer('simple')",
    "fts3tokenize": "SELECT * FROM fts3tokenize('simple', 'a b')",
    "dbstat": "SELECT * FROM dbstat",
    "sqlite_log": "SELECT sqlite_log(1, 'x')",
    "rtreecheck": "SELECT rtreecheck('t')",
    "rtreenode": "SELECT rtreenode(2, x'00')",
    "readfile": "SELECT readfile('/etc/passwd')",
    "writefile": "SELECT writefile('x', 'y')",
    "edit": "SELECT edit('x')",
    "vacuum": "VACUUM",
    "vacuum into": "VACUUM INTO 'x.db'",
    "begin": "BEGIN",
    "begin immediate": "BEGIN IMMEDIATE",
    "commit": "COMMIT",
    "savepoint": "SAVEPOINT x",
    "reindex": "REINDEX",
    "analyze": "ANALYZE",
    "temporary table": "CREATE TEMP TABLE x AS SELECT 1",
    "temporary view": "CREATE TEMP VIEW x AS SELECT 1",
    "insert": "INSERT INTO t VALUES (1, 2)",
    "insert in a with": "WITH a AS (SELECT 1, 2) INSERT INTO t SELECT * FROM a",
    "update in a with": "WITH a AS (SELECT 1) UPDATE t SET v = 1",
    "delete in a with": "WITH a AS (SELECT 1) DELETE FROM t",
    "replace in a with": "WITH a AS (SELECT 1, 2) REPLACE INTO t SELECT * FROM a",
    "returning": "DELETE FROM t RETURNING *",
    "two statements": "SELECT 1; DELETE FROM t",
    "two statements and a comment": "SELECT 1; -- ;\nDELETE FROM t",
    "a statement after a null byte": "SELECT 1\0; DELETE FROM t",
    "explain of a write": "EXPLAIN DELETE FROM t",
    "drop": "DROP TABLE t",
    "sqlite_temp_schema": "SELECT * FROM sqlite_temp_schema",
    "double quotes are no text": 'SELECT "DELETE"',
    "deep expression": "SELECT " + "abs(" * 300 + "1" + ")" * 300,
    "deep negation": "SELECT " + "- " * 5000 + "1",
    "long compound": " UNION ALL ".join(["SELECT 1"] * 600),
    "many columns": "SELECT " + ",".join(["1"] * 5000),
    "many joins": "SELECT * FROM " + ",".join(["t"] * 100),
    "long text": "SELECT '" + "x" * 200_000 + "'",
    "many arguments": "SELECT max(" + ",".join(["1"] * 200) + ")",
    "nested views": "SELECT * FROM deep8 a, deep8 b",
    "zeroblob of a gigabyte": "SELECT zeroblob(1000000000)",
    "randomblob of a gigabyte": "SELECT randomblob(1000000000)",
    "hex of a megabyte": "SELECT hex(zeroblob(1000000))",
    "printf width": "SELECT printf('%1000000000d', 1)",
    "printf width of an argument": "SELECT printf('%*d', 2000000000, 1)",
    "printf precision": "SELECT printf('%.1000000000f', 1.5)",
    "format of a comma": "SELECT format('%,2000000000d', 1)",
    "replace that grows": "SELECT replace(hex(zeroblob(200000)), '0', hex(zeroblob(500)))",
    "nested replace": "SELECT replace(replace(hex(zeroblob(9999)),'0','00000000'),'0','00000000')",
    "doubling text": (
        "WITH RECURSIVE c(x) AS (SELECT 'x' UNION ALL SELECT x||x FROM c) SELECT max(x) FROM c"
    ),
    "like pattern": f"SELECT '{'a' * 500}' LIKE '{'%a' * 200}'",
    "match without an index": "SELECT 'a' MATCH 'b'",
    "regexp": "SELECT 'aaaaaaaaaaaaaaaaaaaaaaaa!' REGEXP '(a+)+$'",
    "strange collation": "SELECT 'a' = 'b' COLLATE missing",
    "recursive view": "SELECT * FROM itself",
    "our table in a view": "SELECT * FROM of_state",
}
"""What a query answers with an error, at once."""

BOUNDED = {
    "json_group_array": f"{ENDLESS}SELECT json_group_array(hex(zeroblob(5000))) FROM c",
    "group_concat": f"{ENDLESS}SELECT group_concat(hex(zeroblob(5000))) FROM c",
    "count to infinity": endless("count(*)"),
    "rows to infinity": endless("x"),
    "no rows to infinity": f"{ENDLESS}SELECT x FROM c WHERE x < 0",
    "union to infinity": (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x+1 FROM c) SELECT count(*) FROM c"
    ),
    "sort to infinity": f"{ENDLESS}SELECT x FROM c ORDER BY -x",
    "distinct to infinity": f"{ENDLESS}SELECT count(DISTINCT hex(x)) FROM c",
    "group to infinity": f"{ENDLESS}SELECT x % 1000003, max(x) FROM c GROUP BY 1",
    "window to infinity": f"{ENDLESS}SELECT sum(x) OVER (ORDER BY x) FROM c",
    "big rows to infinity": f"{ENDLESS}SELECT x, zeroblob(1000000) FROM c ORDER BY 2",
    "cross join": (
        "SELECT count(*) FROM t a, t b, t c, t d, t e, t f WHERE a.v+b.v+c.v+d.v+e.v = -f.v"
    ),
    "cross join of values": (
        "SELECT count(*) FROM json_each(?1) a, json_each(?1) b, json_each(?1) c"
    ),
    "correlated subqueries": (
        "SELECT sum((SELECT count(*) FROM t x, t y WHERE x.v > y.v + a.v)) FROM t a, t b, t c"
    ),
    "json_tree": "SELECT count(*) FROM json_tree(?1) a, json_tree(?1) b, json_tree(?1) c",
    "instr": "SELECT instr(?2, ?3)",
    "instr to infinity": endless("instr(?2, ?3)"),
    "replace": "SELECT length(replace(?2, ?3, 'x'))",
    "trim": "SELECT length(trim(?2, 'ba'))",
    "json_patch": "SELECT length(json_patch(?4, ?5))",
    "unhex": "SELECT unhex(?2, ?3)",
    "like": "SELECT ?2 LIKE '" + "%a" * 49 + "b'",
    "like to infinity": endless("sum(?2 LIKE '" + "%_a" * 30 + "b')"),
    "glob": "SELECT ?2 GLOB '" + "*[ab]" * 19 + "c'",
    "glob to infinity": endless("sum(?2 GLOB '" + "*[ab]" * 19 + "c')"),
    "glob again and again": chained("(?2 GLOB '*[ab]*[ab]*[ab]*c')", 900),
    "like again and again": chained("(?2 LIKE '%_a%_a%_a%b')", 900),
    "numbers of long texts": chained("?2", 9000),
    "concatenation": chained("?2", 9000, glue="||"),
    "strftime": "SELECT length(strftime(?2, 'now'))",
    "randomblob": endless("max(randomblob(1000000))"),
    "long integers": endless("max(printf('%.1000000f', x))"),
    "hex and quote": endless("max(quote(randomblob(100000)))"),
    "wide rows": "SELECT " + ",".join(["zeroblob(1000000)"] * 200),
    "many wide rows": f"{ENDLESS}SELECT " + ",".join(["randomblob(80000)"] * 150) + " FROM c",
    "comments": "/**/" * 20_000 + "x",
    "many terms": f"SELECT {MANY} FROM (SELECT 1 x)",
    "many in": "SELECT 1 IN (" + ",".join(["1"] * 30_000) + ")",
    "events": "SELECT count(*) FROM events a, events b, events c, events d",
    "state": (
        "SELECT count(*) FROM state a, state b, state c, state d, state e "
        "WHERE a.value || e.value = 'x'"
    ),
}
"""What may be answered, or stopped: what counts is when."""

PARAMS = {
    "1": str(list(range(3000))),
    "2": A_MEGABYTE,
    "3": HALF,
    "4": "{" + ",".join(f'"k{n}":{n}' for n in range(30_000)) + "}",
    "5": "{" + ",".join(f'"j{n}":{n}' for n in range(30_000)) + "}",
}


def params_of(sql):
    """As many as it has, by position."""
    used = [int(n) for n in PARAMS if f"?{n}" in sql]
    return [PARAMS[str(n)] if n in used else None for n in range(1, max(used) + 1)] if used else []


SCHEMA = [
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
    "INSERT INTO t(v) SELECT value FROM json_each('" + str(list(range(100))) + "')",
    "CREATE VIEW itself AS SELECT * FROM itself",
    "CREATE VIEW of_state AS SELECT key FROM state",
    "CREATE VIEW deep0 AS SELECT * FROM t",
    *(
        f"CREATE VIEW deep{n + 1} AS SELECT * FROM deep{n} UNION ALL SELECT * FROM deep{n}"
        for n in range(8)
    ),
]


@pytest.fixture(scope="module")
def server():
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        search=Search(compile=False),
        sql=Sql(query_timeout_ms=TIMEOUT_MS, exec_timeout_ms=TIMEOUT_MS),
        limits=Limits(body_bytes_max=8_000_000),
    )
    with (
        serve(config) as running,
        httpx.Client(base_url=running.url, timeout=PATIENCE_SECS) as http,
    ):
        for sql in SCHEMA:
            answer = http.post("/v1/sql/exec", json={"sql": sql})
            assert answer.status_code == 200, (sql, answer.text)
        for n in range(50):
            http.put(f"/v1/state/k{n}", json={"value": n})
        yield http


def peak_bytes():
    """The most memory that this process, and so the server, had at once."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


@pytest.fixture
def bounded():
    """The processor's time and the memory of a test are bounded: the server is in this process."""
    before, started = peak_bytes(), time.process_time()
    yield
    assert time.process_time() - started < SECONDS_MAX
    assert peak_bytes() - before < GROWTH_MAX


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(server, bounded, name):
    answer = server.post("/v1/sql/query", json={"sql": REFUSED[name]})
    assert answer.status_code == 400, answer.text[:500]
    assert answer.json()["error"] in ("invalid_argument", "sqlite_error"), answer.text


@pytest.mark.parametrize("name", BOUNDED)
def test_what_is_bounded(server, bounded, name):
    sql = BOUNDED[name]
    answer = server.post("/v1/sql/query", json={"sql": sql, "params": params_of(sql)})
    assert answer.status_code in (200, 400, 408), answer.text[:500]
    assert len(answer.content) < 40_000_000


WRITES = {
    "attach": "ATTACH 'x.db' AS x",
    "pragma": "PRAGMA writable_schema=1",
    "begin": "BEGIN",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "savepoint": "SAVEPOINT x",
    "release": "RELEASE x",
    "vacuum": "VACUUM",
    "vacuum into": "VACUUM INTO 'x.db'",
    "load_extension": "UPDATE t SET v = load_extension('x')",
    "fts3_tokenizer": "UPDATE t SET v = fts3_tokenizer('simple')",
    "sqlite_schema": "UPDATE sqlite_schema SET sql = ''",
    "sqlite_schema deleted": "DELETE FROM sqlite_master",
    "temporary table": "CREATE TEMP TABLE x(a)",
    "temporary trigger": "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
    "table of a select": "CREATE TABLE x AS SELECT 1",
    "two statements": "UPDATE t SET v = 1; DROP TABLE t",
    "a commit behind it": "UPDATE t SET v = 1; COMMIT",
    "returning": "DELETE FROM t RETURNING *",
    "a query": "SELECT 1",
    "endless insert": f"INSERT INTO t(v) {ENDLESS}SELECT x FROM c",
    "endless blobs": f"INSERT INTO t(v) {ENDLESS}SELECT zeroblob(1000000) FROM c",
    "endless where": f"DELETE FROM t WHERE v = (SELECT max(x) FROM ({ENDLESS}SELECT x FROM c))",
    "gigabyte": "UPDATE t SET v = zeroblob(1000000000)",
    "printf": "UPDATE t SET v = printf('%2000000000d', 1)",
    "many triggers": (
        "UPDATE t SET v = v + 1 WHERE (SELECT count(*) FROM t a, t b, t c, t d, t e, t f)"
    ),
    "shadow table": "INSERT INTO words_data VALUES (1, 'x')",
    "shadow table dropped": "DROP TABLE words_content",
    "csv": "CREATE VIRTUAL TABLE x USING csv(filename='/etc/passwd')",
    "dbstat": "CREATE VIRTUAL TABLE x USING dbstat",
    "generated of chance": "CREATE TABLE x(a, b AS (random()))",
    "views of views": (
        "CREATE VIEW x AS SELECT a.v FROM deep8 a JOIN deep8 b UNION ALL SELECT v FROM deep8"
    ),
    "index of chance": "CREATE INDEX x ON t(random())",
}
"""What writes, or tries to, is refused and changes nothing."""

LOOPS = [
    "CREATE TABLE loops(a)",
    "CREATE TRIGGER again AFTER INSERT ON loops BEGIN INSERT INTO other VALUES (new.a); END",
    "CREATE TABLE other(a)",
    "CREATE TRIGGER back AFTER INSERT ON other BEGIN INSERT INTO loops VALUES (new.a); END",
    "CREATE VIRTUAL TABLE words USING fts5(text)",
]
SLOW_WRITES = {
    "looping trigger": "INSERT INTO loops VALUES (1)",
    "json_patch": "UPDATE t SET v = json_patch(?4, ?5)",
    "instr": "UPDATE t SET v = instr(?2, ?3)",
    "replace": "UPDATE t SET v = length(replace(?2, ?3, 'x'))",
    "unhex": "UPDATE t SET v = unhex(?2, ?3)",
    "glob": "UPDATE t SET v = ?2 GLOB '" + "*[ab]" * 19 + "c'",
    "glob again and again": "UPDATE t SET v = " + "+".join(["(?2 GLOB '*[ab]*[ab]*[ab]c')"] * 190),
    "numbers of long texts": "UPDATE t SET v = max("
    + ",".join(["+".join(["?2"] * 90)] * 100)
    + ")",
}


@pytest.fixture(scope="module")
def written(server):
    for sql in LOOPS:
        answer = server.post("/v1/sql/exec", json={"sql": sql})
        assert answer.status_code == 200, (sql, answer.text)
    return server


def content(http):
    sql = "SELECT (SELECT count(*) FROM t) AS n, (SELECT sum(v) FROM t) AS v, "
    sql += "(SELECT count(*) FROM sqlite_schema) AS s, (SELECT count(*) FROM loops) AS l"
    return http.post("/v1/sql/query", json={"sql": sql}).json()["rows"]


@pytest.mark.parametrize("name", WRITES)
def test_writes_that_are_refused_change_nothing(written, bounded, name):
    before = content(written)
    answer = written.post("/v1/sql/exec", json={"sql": WRITES[name]})
    assert answer.status_code in (400, 413), answer.text[:500]
    assert content(written) == before


@pytest.mark.parametrize("name", SLOW_WRITES)
def test_writes_that_are_bounded(written, bounded, name):
    sql = SLOW_WRITES[name]
    answer = written.post("/v1/sql/exec", json={"sql": sql, "params": params_of(sql)})
    assert answer.status_code in (200, 400, 413), answer.text[:500]


def test_the_server_is_well_after_all_of_it(written):
    assert written.get("/v1/state/k1").json()["value"] == 1
    answer = written.post("/v1/sql/query", json={"sql": "SELECT count(*) AS n FROM t"})
    assert answer.json()["rows"] == [{"n": 100}]
