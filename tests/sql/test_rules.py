"""What a statement that writes may not do, and what a key may not touch."""

import os
import time

import pytest

from kissvdb.config import Sql
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.core.sql.grants import TableGrants
from kissvdb.engine.sql.group import Writer
from kissvdb.errors import Forbidden, KissError, PersistenceFailed, SqliteError
from kissvdb.storage.sql.file import SqlFile


@pytest.fixture
def execute(tmp_path):
    file = SqlFile(tmp_path / "rules.db", durable=False)
    writer = Writer(file, Sql(exec_timeout_ms=200))

    def run(*texts, grants=None, params=()):
        found = writer.run(
            [SqlCommand(tuple(Statement(t, params) for t in texts), None, grants)], {}
        )
        if found.decided.records:
            file.commit(file.applied_offset + len(found.decided.records))
        if isinstance(found.outcomes[0], KissError):
            raise found.outcomes[0]
        return found.decided.records

    run("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
    run("CREATE TABLE named(k TEXT PRIMARY KEY)", "CREATE VIRTUAL TABLE words USING fts5(a)")
    yield run
    file.close()


REFUSED = {
    "VACUUM": "VACUUM",
    "ATTACH ':memory:' AS other": "ATTACH",
    "DETACH main": "DETACH",
    "BEGIN": "transaction",
    "COMMIT": "transaction",
    "ROLLBACK": "transaction",
    "SAVEPOINT x": "transaction",
    "RELEASE kissvdb0": "transaction",
    "PRAGMA user_version = 3": "settings",
    "PRAGMA writable_schema = 1": "settings",
    "PRAGMA foreign_keys": "settings",
    "CREATE TEMP TABLE q(a)": "temporary",
    "CREATE TABLE temp.q(a)": "temporary",
    "CREATE TEMP VIEW v AS SELECT 1": "temporary",
    "CREATE TABLE q AS SELECT 1 AS a": "CREATE TABLE AS",
    "CREATE TABLE q(rowid, a)": "rowid",
    "CREATE TABLE q(a, b NOT NULL, PRIMARY KEY(a, b))": "NOT NULL",
    "CREATE VIRTUAL TABLE q USING dbstat": "dbstat",
    "ALTER TABLE words RENAME TO words2; DELETE FROM t": "one statement",
    "DELETE FROM t; DELETE FROM named": "one statement",
    "SELECT 1": "answers rows",
    "INSERT INTO t(a) VALUES (1) RETURNING id": "answers rows",
    "EXPLAIN DELETE FROM t": "answers rows",
    "": "no statement",
    "-- nothing": "no statement",
    "DELETE FROM sqlite_master": "may not be modified",
    "DELETE FROM words_data": "may not be modified",
    "INSERT INTO sqlite_sequence VALUES ('t', 1)": "no such table",
    "INSERT INTO t(a) VALUES (zeroblob(3000000))": "too big",
    "INSERT INTO t(a) VALUES (load_extension('x'))": "load_extension",
    "INSERT INTO t(a) VALUES (CAST(x'ff' AS TEXT))": "UTF-8",
    "INSERT INTO named VALUES (NULL)": "NOT NULL",
    'INSERT INTO t(a) VALUES ("a string")': "a string",
    "INSERT INTO t(a) VALUES (?)": "binding",
    "INSERT INTO t(a) VALUES (1": "incomplete",
    "INSERT INTO t(a) VALUEZ (1)": r"near .VALUEZ.* \(at byte 17",
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)"
    " INSERT INTO t(a) SELECT count(*) FROM n": "exec_timeout_ms",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_the_log_could_not_follow_is_refused(execute, text):
    with pytest.raises(SqliteError, match=f"(?s)(?i){REFUSED[text]}"):
        execute(text)
    assert len(execute("INSERT INTO t(a) VALUES (1)")) == 2


def test_parameters_have_the_names_that_the_statement_has(execute):
    execute("INSERT INTO t(a) VALUES (:a)", params={"a": 1})
    for params in ({}, {"a": 1, "b": 2}, {"b": 1}):
        with pytest.raises(SqliteError, match=r":a|:b"):
            execute("INSERT INTO t(a) VALUES (:a)", params=params)
    with pytest.raises(SqliteError):
        execute("INSERT INTO t(a) VALUES (?)", params=(2**63,))


def test_what_is_there_already_is_not_logged(execute):
    assert execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a)") == []
    assert execute("DROP TABLE IF EXISTS absent") == []


def test_rows_that_change_for_nothing_are_no_change(execute):
    execute("INSERT INTO t VALUES (1, 'x')")
    assert execute("UPDATE t SET a = 'x'") == []
    assert execute("UPDATE t SET a = 'y'", "UPDATE t SET a = 'x'") == []


MINE = TableGrants(read=("team_*",), write=("team_*",))
OUTSIDE = (
    "INSERT INTO {}(a) VALUES (1)",
    "DELETE FROM {}",
    "UPDATE {} SET a = 1",
    "INSERT INTO team_a(a) SELECT a FROM {}",
    "DELETE FROM team_a WHERE a IN (SELECT a FROM {})",
    "WITH w AS (SELECT a FROM {}) INSERT INTO team_a(a) SELECT a FROM w",
    "WITH team_w(n) AS (SELECT count(*) FROM {}) INSERT INTO team_a SELECT 1, n FROM team_w",
    "UPDATE team_a SET a = w.a FROM (SELECT a FROM {}) AS w",
    "UPDATE team_a SET a = (WITH w AS (SELECT a FROM {}) SELECT a FROM w)",
    "ALTER TABLE team_a ADD COLUMN other REFERENCES {}(id)",
    "DROP TABLE {}",
    "ALTER TABLE {} ADD COLUMN b",
    "CREATE INDEX team_i ON {}(a)",
)


@pytest.mark.parametrize("text", OUTSIDE)
def test_outside_its_tables_a_key_is_refused_alike_whether_they_are_there_or_not(execute, text):
    execute("CREATE TABLE team_a(id INTEGER PRIMARY KEY, a)", grants=MINE)
    execute("CREATE TABLE Secret(id INTEGER PRIMARY KEY, a)")
    told = []
    for table in ("secret", "absent"):
        with pytest.raises(Forbidden) as refusal:
            execute(text.format(table), grants=MINE)
        told.append(refusal.value.message.replace(table, "X"))
    assert told[0] == told[1]


def test_inside_its_tables_a_key_may_do_what_makes_and_fills_tables(execute):
    for text in (
        "CREATE TABLE team_a(id INTEGER PRIMARY KEY, a)",
        "CREATE INDEX team_by_a ON team_a(a)",
        "INSERT INTO TEAM_A(a) SELECT value FROM json_each('[1, 2]')",
        "CREATE TABLE team_b(id INTEGER PRIMARY KEY, of REFERENCES team_a)",
        "ALTER TABLE team_a ADD COLUMN b",
        "UPDATE team_a SET b = a",
        "DROP INDEX team_by_a",
        "DROP TABLE team_b",
    ):
        execute(text, grants=MINE)


def test_a_key_of_some_tables_makes_nothing_that_reaches_others(execute):
    execute("CREATE TABLE secret(id INTEGER PRIMARY KEY, a)")
    execute("CREATE TABLE team_a(id INTEGER PRIMARY KEY, a)", grants=MINE)
    for text in (
        "CREATE TABLE team_c(a REFERENCES secret)",
        "CREATE TRIGGER team_t AFTER INSERT ON team_a BEGIN DELETE FROM secret; END",
        "CREATE VIEW team_v AS SELECT * FROM secret",
        "ALTER TABLE team_a RENAME TO other",
        "ALTER TABLE secret RENAME TO team_s",
        "CREATE INDEX other ON team_a(a)",
        "INSERT INTO team_a(a) SELECT sql FROM sqlite_master",
        "INSERT INTO team_a(a) SELECT name FROM pragma_table_list",
        "ANALYZE",
    ):
        with pytest.raises((Forbidden, SqliteError), match=r"scopes|key of some|not allowed"):
            execute(text, grants=MINE)


def test_a_trigger_does_what_its_maker_could_and_no_with_clause_passes_for_one(execute):
    execute("CREATE TABLE team_a(id INTEGER PRIMARY KEY, a)", grants=MINE)
    execute("CREATE TABLE secret(id INTEGER PRIMARY KEY, a)")
    execute("INSERT INTO secret VALUES (1, 'pw')")
    trigger = (
        "CREATE TRIGGER {} AFTER INSERT ON team_a BEGIN"
        " UPDATE secret SET a = a || 'x' WHERE id IN (SELECT id FROM secret); END"
    )
    execute(trigger.format("log"))
    assert len(execute("INSERT INTO team_a(a) VALUES ('catalog')", grants=MINE)) == 3
    execute(trigger.format('"it\'s"'))
    for name in ("log", '"log"', "[log]", "'log'", '"it\'s"', "'it''s'"):
        text = f"WITH {name} AS (SELECT a FROM secret) INSERT INTO team_a(a) SELECT a FROM {name}"
        with pytest.raises(Forbidden):
            execute(text, grants=MINE)


def test_a_pattern_that_takes_names_of_sqlite_in_does_not_show_everybodys_schema(execute):
    some = TableGrants(read=("s*", "p*", "d*", "json*"), write=("s*",))
    execute("CREATE TABLE sales(a)", grants=some)
    for source in ("sql FROM sqlite_master", "name FROM pragma_table_list", "name FROM dbstat"):
        with pytest.raises(Forbidden):
            execute(f"INSERT INTO sales SELECT {source}", grants=some)
    execute("INSERT INTO sales SELECT value FROM json_each('[1]')", grants=some)
    everything = TableGrants(read=("*",), write=("*",))
    execute("INSERT INTO sales SELECT sql FROM sqlite_master", grants=everything)


def test_a_foreign_key_to_anothers_table_stays_when_its_table_changes(execute):
    execute("CREATE TABLE secret(id INTEGER PRIMARY KEY)")
    execute("CREATE TABLE team_a(id INTEGER PRIMARY KEY, a REFERENCES secret)")
    execute("ALTER TABLE team_a ADD COLUMN b", grants=MINE)


def test_a_change_of_the_schema_takes_no_longer_than_it_may(execute):
    rows = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    # In parts, each of which is quick beside whatever else the machine does.
    for start in range(30):
        execute(rows.format(1500) + f" INSERT INTO t SELECT {start * 1500} + i, i FROM n")
    with pytest.raises(SqliteError, match="exec_timeout_ms"):
        execute("CREATE INDEX slow ON t(length(hex(zeroblob(40000 + a))))")
    execute("CREATE INDEX fast ON t(a)")


def test_changed_rows_come_in_the_order_of_their_numbers(execute):
    rows = ", ".join(f"({number}, 0)" for number in range(300, 0, -1))
    found = execute(f"INSERT INTO t VALUES {rows}")[1:]
    assert [each.key for each in found] == [(number,) for number in range(1, 301)]


def test_one_call_of_a_function_takes_no_longer_than_it_may(execute):
    long = "replace(hex(zeroblob(200000)), '0', 'a')"
    began = time.process_time()
    execute(f"INSERT INTO t(a) VALUES (instr({long} || 'b', {long} || 'c'))")
    with pytest.raises(SqliteError, match="LIKE or GLOB pattern too complex"):
        execute(f"INSERT INTO t(a) VALUES ('x' LIKE '{'%a' * 100}')")
    assert time.process_time() - began < 20


def test_without_room_to_commit_nothing_is_logged(execute, monkeypatch):
    full = os.statvfs_result((4096, 4096, 100, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda path: full)
    with pytest.raises(PersistenceFailed, match="too little room"):
        execute("INSERT INTO t(a) VALUES (1)")
    monkeypatch.undo()
    assert len(execute("INSERT INTO t(a) VALUES (1)")) == 2
