"""Whatever SQL is executed: a replay of the log's records ends at the same content."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kissvdb import records
from kissvdb.config import Sql
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.engine.sql.group import Writer
from kissvdb.engine.sql.sql_store import SqlReplay
from kissvdb.errors import KissError
from kissvdb.storage.sql.file import SqlFile
from tests.sql.dumping import dump

SCHEMA = (
    "CREATE TABLE plain(id INTEGER PRIMARY KEY, a, b TEXT UNIQUE)",
    "CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT, a, n NUMERIC, r REAL)",
    "CREATE TABLE keyless(a, b)",
    "CREATE TABLE text_key(k TEXT PRIMARY KEY, a, v AS (a || '!'), w AS (length(a)) STORED)",
    "CREATE TABLE pair(a INT NOT NULL, b TEXT NOT NULL, c, PRIMARY KEY(b, a)) WITHOUT ROWID",
    "CREATE TABLE exact(id INT PRIMARY KEY, x ANY, t TEXT) STRICT",
    "CREATE TABLE child(id INTEGER PRIMARY KEY, plain_id REFERENCES plain ON DELETE CASCADE"
    " ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED)",
    "CREATE VIRTUAL TABLE words USING fts5(a, b)",
    "CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1)",
    "CREATE TABLE audit(what, at)",
    "CREATE TRIGGER noted AFTER UPDATE ON plain BEGIN"
    " INSERT INTO audit VALUES (old.a || '>' || new.a, random()); END",
    "CREATE VIEW shown AS SELECT id, a FROM plain",
    "CREATE TRIGGER instead INSTEAD OF INSERT ON shown BEGIN"
    " INSERT OR REPLACE INTO plain(id, a, b) VALUES (new.id, new.a, new.a); END",
)

WRITES = (
    "INSERT INTO plain(a, b) VALUES (:v, :w)",
    "INSERT OR REPLACE INTO plain VALUES (:n, :v, :w)",
    "INSERT OR IGNORE INTO plain VALUES (:n, :v, :w)",
    "INSERT INTO plain VALUES (:n, :v, :w) ON CONFLICT DO UPDATE SET a = excluded.a",
    "UPDATE plain SET a = :v WHERE id <> :n",
    "UPDATE plain SET id = id + :n",
    "UPDATE plain SET b = (SELECT o.b FROM plain o WHERE o.id = plain.id + 1)",
    "DELETE FROM plain WHERE id > :n",
    "DELETE FROM plain",
    "INSERT INTO shown VALUES (:n, :v)",
    "INSERT INTO auto(a, n, r) VALUES (:v, :v, :v)",
    "INSERT INTO auto(id, a) VALUES (:n + 100, :w)",
    "DELETE FROM auto",
    "UPDATE sqlite_sequence SET seq = :n",
    "INSERT INTO keyless VALUES (:v, :w), (:w, :v)",
    "UPDATE keyless SET a = :v WHERE rowid % 2 = :n % 2",
    "DELETE FROM keyless WHERE rowid = :n",
    "INSERT OR REPLACE INTO text_key(k, a) VALUES (:w, :v)",
    "UPDATE text_key SET k = k || :n, a = :v",
    "INSERT INTO pair VALUES (:n, :w, :v)",
    "UPDATE pair SET a = a + 1, c = :v",
    "UPDATE pair SET b = :w WHERE a = :n",
    "INSERT OR REPLACE INTO exact VALUES (:n, :v, :w)",
    "INSERT INTO child(plain_id) VALUES (:n)",
    "INSERT INTO child(plain_id) SELECT id FROM plain",
    "INSERT INTO words VALUES (:w, :w || ' and ' || :v)",
    "DELETE FROM words WHERE rowid = :n",
    "UPDATE words SET a = :w WHERE words MATCH 'and'",
    "INSERT INTO words(words) VALUES ('optimize')",
    "INSERT OR REPLACE INTO boxes VALUES (:n, :n, :n + 1)",
    "DELETE FROM boxes WHERE x0 > :n",
    "INSERT INTO late VALUES (:v, :w)",
)
DEFINITIONS = (
    "CREATE TABLE IF NOT EXISTS late(a, b)",
    "DROP TABLE IF EXISTS late",
    "DROP TABLE plain",
    "CREATE TABLE IF NOT EXISTS plain(id INTEGER PRIMARY KEY, a, b TEXT UNIQUE)",
    "ALTER TABLE keyless ADD COLUMN c DEFAULT 'new'",
    "ALTER TABLE keyless DROP COLUMN c",
    "ALTER TABLE keyless RENAME COLUMN b TO bb",
    "CREATE INDEX IF NOT EXISTS by_length ON keyless(length(a)) WHERE a IS NOT NULL",
    "DROP TABLE words",
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(a, b)",
    "ANALYZE",
    "REINDEX",
)
VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), math.inf, -math.inf, 0.5, 1e300, 3.0]),
    st.sampled_from(["", "x", "a\0b", "1", "1e3", "é\U0001f600", "long " * 300, b"", b"\0\xff"]),
    st.integers(-5, 5),
)
WORDS = st.sampled_from(["one", "two", "three", "a b", "\0"])
STATEMENTS = st.tuples(
    st.one_of(st.sampled_from(WRITES), st.sampled_from(WRITES), st.sampled_from(DEFINITIONS)),
    VALUES,
    WORDS,
    st.integers(0, 6),
)


def statement(text, value, word, number):
    params = {"v": value, "w": word, "n": number}
    return Statement(text, {name: params[name] for name in params if f":{name}" in text})


def executed(writer, log, *commands):
    """Executes commands as one group; answers their outcomes. ``log`` gets the payloads."""
    outcomes = []
    while len(outcomes) < len(commands):
        run = writer.run(commands[len(outcomes) :], {})
        if run.decided.records:
            log += records.encode_all(run.decided.records)
            writer.file.commit(len(log))
        outcomes += run.outcomes
    return outcomes


def replayed(path, log, pieces):
    """The content after a replay, in pieces of ``pieces`` records."""
    replay = SqlReplay(path, durable=False)
    try:
        found = [(place + 1, records.decode(payload)) for place, payload in enumerate(log)]
        for start in range(0, len(found), pieces):
            piece = found[start : start + pieces]
            replay.replay(piece, piece[-1][0])
        assert replay.damage is None, replay.damage
        assert replay.applied_offset == len(log)
    finally:
        replay.close()
    return dump(path)


def check(groups, pieces):
    with tempfile.TemporaryDirectory(prefix="sql-") as directory:
        path = Path(directory) / "live.db"
        file = SqlFile(path, durable=False)
        log = []
        try:
            writer = Writer(file, Sql())
            made = executed(writer, log, *(SqlCommand((Statement(text),)) for text in SCHEMA))
            assert not [each for each in made if isinstance(each, KissError)]
            for group in groups:
                commands = [SqlCommand(tuple(statement(*each) for each in one)) for one in group]
                executed(writer, log, *commands)
        finally:
            file.close()
        assert replayed(Path(directory) / "replayed.db", log, pieces) == dump(path)


GROUPS = st.lists(
    st.lists(st.lists(STATEMENTS, min_size=1, max_size=4), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


@example([[[(text, "x", "one", 2)] for text in WRITES[:-1]]], 7)
@example([[[(text, 1, "two", 1)] for text in (*WRITES, *DEFINITIONS, *WRITES)]], 1000)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GROUPS, st.sampled_from([1, 7, 1000]))
def test_a_replay_ends_at_the_same_content(groups, pieces):
    check(groups, pieces)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GROUPS, st.sampled_from([1, 7, 1000]))
def test_a_replay_ends_at_the_same_content_of_many_scripts(groups, pieces):
    check(groups, pieces)
