"""What does a row of a SELECT cost that comes from keys, documents, vectors, events or a search?

Reads DIR/meta.jsonl.gz, base.npy and queries.npy. One database in this process, on disk, holds the
first ``--rows`` packages as keys, as documents and as vectors, and a table of SQL with a row for
each. Every statement is read as /v1/sql/query reads it, JSON and HTTP left out; beside it the same
question to a plain table of SQLite with the same rows. Microseconds of CPU time of the process, for
each row, the best of several runs.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import apsw
import attrs
import numpy as np
import trio

from bench.load import report
from kissvdb.config import Config, Storage
from kissvdb.config import Sql as SqlConfig
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.core.state.rules import Put
from kissvdb.engine.database import Database
from kissvdb.engine.opening import open_database
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.engine.vectors.collection import VectorCommand

LOADED_AT_ONCE = 1000
RUNS = 5
K = 100


@attrs.frozen
class Question:
    """A statement, and what to divide its time by. ``plain``: the same of plain tables."""

    name: str
    sql: str
    plain: str | None = None
    params: tuple[Any, ...] = ()
    rows: int | None = None
    """None: those that it answers."""


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--rows", type=int, default=20_000)
    command.add_argument("--dir", default="/var/tmp", help="where the database lies")
    command.add_argument("--name", default="sql_tables", help="of the results")
    arguments = command.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        measured = trio.run(measure, arguments.data, arguments.rows, scratch)
    table = [
        (each["name"], each["rows"], each["us"], _or_dash(each["plain_us"]), each["ms"])
        for each in measured
    ]
    report.print_table(table, ["what", "rows", "us a row", "plain table", "ms in all"])
    report.RESULTS.mkdir(exist_ok=True)
    path = report.RESULTS / f"{arguments.name}.json"
    path.write_text(json.dumps({"rows": arguments.rows, "questions": measured}, indent=1) + "\n")
    return 0


def _or_dash(value: float | None) -> float:
    return float("nan") if value is None else value


async def measure(data: Path, rows: int, scratch: str) -> list[dict[str, Any]]:
    sql = SqlConfig(query_rows_max=1_000_000, changes_max=1_000_000)
    config = Config(storage=Storage(data_dir=scratch), sql=sql)
    query = np.load(data / "queries.npy", mmap_mode="r")[0].astype("<f4").tobytes()
    async with open_database(config) as db:
        plain = apsw.Connection(str(Path(scratch) / "plain.db"))
        await load(db, plain, data, rows)
        await db.vectors.compiled.wait()
        for upkeep in db.sources.state.targets():
            await upkeep.store()
        return [await ask(db, plain, each) for each in questions(rows, query)]


def questions(rows: int, query: bytes) -> Iterator[Question]:
    yield Question("a statement of no table", "SELECT 1")
    yield Question("one that reads one key", "SELECT 1 FROM state LIMIT 1")
    yield Question("count(*), keys", *twice("SELECT count(*) FROM {state}"), rows=2 * rows)
    yield Question("keys", *twice("SELECT key FROM {state} WHERE key GLOB 'package:*'"))
    yield Question("keys, values", *twice("SELECT key, value FROM {state} WHERE key < 'q'"))
    sql = "SELECT count(*) FROM packages AS p JOIN {state} AS s ON s.key = 'package:' || p.id"
    yield Question("join by key", *twice(sql), rows=rows)
    yield Question("documents: id", *twice("SELECT id FROM {documents}"))
    yield Question("documents: id, doc", *twice("SELECT id, doc FROM {documents}"))
    sql = "SELECT count(*) FROM {documents} WHERE doc ->> 'section' = 'python'"
    yield Question("documents: a field of each", *twice(sql), rows=rows)
    sql = "SELECT count(*) FROM packages AS p JOIN {documents} AS d ON d.id = p.id"
    yield Question("join documents by id", *twice(sql), rows=rows)
    yield Question("vectors: id, meta", "SELECT id, meta FROM vectors('v')")
    yield Question("events: offset, type, key", "SELECT offset, type, key FROM events")
    sql = "SELECT offset, type FROM events ORDER BY offset DESC LIMIT 10"
    yield Question("the newest 10 events", sql)
    sql = f"SELECT id, score FROM vector_search('v', ?, {K})"
    yield Question(f"vector_search, k {K}", sql, params=(query,), rows=1)
    sql = (
        "SELECT p.id, p.installed_size_kb, s.score FROM"
        f" vector_search('v', ?, {K}) AS s JOIN packages AS p ON p.id = s.id"
        " WHERE p.installed_size_kb > 100 ORDER BY s.rank LIMIT 10"
    )
    yield Question("the same, joined, best 10", sql, params=(query,), rows=1)
    sql = f"SELECT id, rank FROM text_search('packages', 'python parser library', {K})"
    yield Question(f"text_search, k {K}", sql, rows=1)


def twice(sql: str) -> tuple[str, str]:
    """A statement over our tables and over plain ones."""
    ours = sql.format(state="state", documents="documents('packages')")
    return ours, sql.format(state="state", documents="documents")


async def load(db: Database, plain: apsw.Connection, data: Path, rows: int) -> None:
    columns = "(id TEXT PRIMARY KEY, section TEXT, installed_size_kb INTEGER) WITHOUT ROWID"
    plain.execute(
        f"PRAGMA journal_mode=WAL; CREATE TABLE packages{columns};"
        "CREATE TABLE state(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
        "CREATE TABLE documents(id TEXT PRIMARY KEY, doc TEXT)"
    ).fetchall()
    await db.write(SqlCommand((Statement(f"CREATE TABLE packages{columns}"),)))
    vectors = np.load(data / "base.npy", mmap_mode="r")
    await db.vectors.create("v", dim=vectors.shape[1], metric="cosine")
    with gzip.open(data / "meta.jsonl.gz", "rt") as lines:
        numbered = enumerate(islice(lines, rows))
        while some := list(islice(numbered, LOADED_AT_ONCE)):
            await load_some(db, plain, some, vectors)
    await db.documents.view("packages")


async def load_some(
    db: Database, plain: apsw.Connection, some: list[tuple[int, str]], vectors: Any
) -> None:
    packages = [(number, json.loads(line)) for number, line in some]
    texts = [(each["id"], json.dumps(each)) for _, each in packages]
    await db.write_many([Put(f"doc:packages:{id_}", text.encode()) for id_, text in texts])
    small = [(each["id"], each["section"], each["installed_size_kb"]) for _, each in packages]
    values = [(f"package:{id_}", json.dumps({"size": size})) for id_, _, size in small]
    await db.write_many([Put(key, value.encode()) for key, value in values])
    await db.write_many(
        [
            VectorCommand("v", Upsert(each["id"], vectors[n].astype("<f4").tobytes(), b"{}"))
            for n, each in packages
        ]
    )
    insert = "INSERT INTO packages VALUES (?,?,?)"
    await db.write(SqlCommand(tuple(Statement(insert, each) for each in small)))
    with plain:
        plain.executemany(insert, small)
        plain.executemany("INSERT INTO documents VALUES (?,?)", texts)
        # As in ours, documents are keys, too.
        keys = [(f"doc:packages:{id_}", text) for id_, text in texts]
        plain.executemany("INSERT INTO state VALUES (?,?)", [*values, *keys])


async def ask(db: Database, plain: apsw.Connection, question: Question) -> dict[str, Any]:
    """The best of several runs: CPU time of the process, which does nothing else."""
    assert db.sql is not None
    best, best_ms, plain_best, count = float("inf"), float("inf"), float("inf"), 0
    query = SqlQuery(question.sql, question.params, 1_000_000, 1 << 30, 60_000)
    for _ in range(RUNS):
        started, cpu, count = time.perf_counter(), time.process_time(), 0
        async with db.sql.reader(query) as rows:
            async for found in rows:
                count += len(found)
        best = min(best, time.process_time() - cpu)
        best_ms = min(best_ms, 1000 * (time.perf_counter() - started))
        if question.plain is not None:
            cpu = time.process_time()
            expected = len(plain.execute(question.plain).fetchall())
            plain_best = min(plain_best, time.process_time() - cpu)
            assert expected == count, (question.name, expected, count)
    divisor = question.rows or max(1, count)
    return {
        "name": question.name,
        "rows": divisor,
        "us": 1e6 * best / divisor,
        "plain_us": None if question.plain is None else 1e6 * plain_best / divisor,
        "ms": best_ms,
    }


if __name__ == "__main__":
    sys.exit(main())
