"""What do SQL statements over HTTP cost, beside SQLite itself and SQLite behind another server?

Durable INSERTs of one row, rows read by their key, and a join of a table with a vector search. All
servers run at once and are loaded in turn, in interleaved rounds. `sqlite3` is Python's, in this
process on one thread, a commit for each INSERT; like Datasette's database it is in WAL mode with
synchronous=FULL, so every INSERT of every peer is on disk when it is answered.
"""

import argparse
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import urllib.request

import attrs

from bench.load import native, options, protocols, report, servers
from bench.load.loop import Figures, Workload, measure
from bench.load.process import NotInstalled, Server, call, find, free_port, http_ok, running, wait
from bench.load.process import version as version_of

ROWS = 4096
DIM = 32
K = 10
READERS = 4
"""So many queries at once are answered by default (``sql.readers``); more are refused."""
TABLE = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, size INTEGER)"
INSERT = "INSERT INTO items (name, size) VALUES (?, ?)"
SELECT = "SELECT id, name, size FROM items WHERE id = ?"
JOIN = (
    f"SELECT items.name, near.score FROM vector_search('v', ?, {K}) AS near"
    " JOIN items ON items.id = near.id ORDER BY near.rank"
)
VALUES = ("a name of some length", 12345)
HEADS = {
    "operations_per_s": "ops/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_us": "CPU us/op",
    "errors": "errors",
}

Way = Callable[[int, float], Figures]
"""By so many clients, for so many seconds."""


@attrs.frozen
class Target:
    """One way to do one thing. ``clients_max``: more it cannot have."""

    group: str
    name: str
    way: Way
    clients_max: int = 10**6


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    command.add_argument("--connections", type=options.numbers, default=[1, 4, 64])
    arguments = command.parse_args()
    with options.scratch(arguments.dir, command) as (directory, file_system), ExitStack() as stack:
        about = report.machine(directory, file_system)
        loader = native.program("closed_loop", directory, python=arguments.python_load)
        used: list[Server] = []
        targets = [*plain_sqlite(directory)]
        for start, ways in ((ours, of_ours), (datasette, of_datasette)):
            place = directory / start.__name__
            place.mkdir()
            try:
                server, more = stack.enter_context(start(place))
            except NotInstalled as missing:
                print(f"left out: {missing}", file=sys.stderr)
                continue
            used.append(server)
            targets += ways(server, more, loader, place)
        cells = rounds(targets, arguments)
    report.print_report(cells, HEADS)
    found = report.ratios(cells, ("kissvdb",), "operations_per_s")
    report.print_ratios(found + beside_one_thread(cells))
    path = report.save(arguments.name or "sql", about=about, servers=used, cells=cells, found=found)
    print(f"saved {path}")
    return int(any(cell.metrics["errors"] for cell in cells))


def rounds(targets: Sequence[Target], arguments: argparse.Namespace) -> list[report.Cell]:
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for clients in arguments.connections:
            for target in targets:
                if clients <= target.clients_max:
                    figures = target.way(clients, arguments.seconds)
                    place = report.Place(target.group, target.name, clients)
                    cells.append(report.Cell(place, number, attrs.asdict(figures)))
    return cells


def beside_one_thread(cells: Sequence[report.Cell]) -> list[report.Ratio]:
    """INSERTs of many clients here against the one thread of SQLite, of the same round."""
    plain = {
        cell.round: cell.metrics["operations_per_s"]
        for cell in cells
        if (cell.place.group, cell.place.target) == ("insert", "sqlite3")
    }
    found = []
    for clients in sorted({cell.place.clients for cell in cells} - {1}):
        place = report.Place("insert", "kissvdb", clients)
        quotients = [
            cell.metrics["operations_per_s"] / plain[cell.round]
            for cell in cells
            if cell.place == place and cell.round in plain
        ]
        if quotients:
            middle = statistics.median(quotients)
            least, most = min(quotients), max(quotients)
            name = "sqlite3, 1 thread"
            ratio = ("operations_per_s", "insert", clients, "kissvdb", name, middle, least, most)
            found.append(report.Ratio(*ratio))
    return found


def plain_sqlite(directory: Path) -> Iterator[Target]:
    """SQLite in this process: no server, no HTTP, no JSON."""
    db = sqlite3.connect(directory / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(TABLE)
    with_rows(db)
    chance = random.Random(1)

    def insert() -> None:
        db.execute(INSERT, VALUES)

    def select() -> None:
        assert db.execute(SELECT, (chance.randint(1, ROWS),)).fetchone() is not None

    yield Target("insert", "sqlite3", lambda _, seconds: timed(insert, seconds), 1)
    yield Target("select", "sqlite3", lambda _, seconds: timed(select, seconds), 1)


def with_rows(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.executemany(INSERT, [VALUES] * ROWS)
    db.execute("COMMIT")


def timed(operation: Callable[[], None], seconds: float) -> Figures:
    """One after the other in this thread."""
    taken: list[float] = []
    began, spent = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) < began + seconds:
        operation()
        taken.append(time.perf_counter() - now)
    elapsed, spent = time.perf_counter() - began, time.process_time() - spent
    taken.sort()
    p50, p95, p99 = (taken[int(len(taken) * share)] * 1e3 for share in (0.5, 0.95, 0.99))
    return Figures(len(taken) / elapsed, p50, p95, p99, spent / len(taken) * 1e6, 0)


def loaded(
    server: Server, requests: Sequence[bytes], bad: bytes, loader: Sequence[str], directory: Path
) -> Way:
    """These requests in turn, in a closed loop. An answer with ``bad`` in it is an error."""
    workload = Workload("http", requests, bad=bad)

    def way(clients: int, seconds: float) -> Figures:
        return measure(loader, server, workload, directory, connections=clients, seconds=seconds)

    return way


@contextmanager
def ours(directory: Path) -> Iterator[tuple[Server, None]]:
    with servers.kissvdb(directory) as server:
        statement(server, TABLE)
        rows = [{"sql": INSERT, "params": VALUES}] * ROWS
        for start in range(0, ROWS, 1000):
            body = protocols.compact({"statements": rows[start : start + 1000]})
            call(server.port, "POST", "/v1/sql/batch", body)
        body = protocols.compact({"dim": DIM, "metric": "cosine"})
        call(server.port, "POST", "/v1/vector/v", body)
        chance = random.Random(1)
        vectors = [{"id": str(n + 1), "vector": vector(chance)} for n in range(ROWS)]
        for start in range(0, ROWS, 256):
            body = protocols.compact({"items": vectors[start : start + 256]})
            call(server.port, "POST", "/v1/vector/v/upsert_batch", body)
        found = statement(server, JOIN, [json.dumps(vectors[0]["vector"])], way="query")["rows"]
        assert len(found) == K, found
        yield server, None


def vector(chance: random.Random) -> list[float]:
    return [round(chance.gauss(0, 1), 3) for _ in range(DIM)]


def statement(server: Server, sql: str, params: Sequence[Any] = (), way: str = "exec") -> Any:
    body = protocols.compact({"sql": sql, "params": params})
    return json.loads(call(server.port, "POST", f"/v1/sql/{way}", body))


def of_ours(server: Server, _: None, loader: Sequence[str], directory: Path) -> Iterator[Target]:
    def asked(way: str, sql: str, params: Sequence[Any]) -> bytes:
        body = protocols.compact({"sql": sql, "params": params})
        return protocols.http("POST", f"/v1/sql/{way}", body)

    chance = random.Random(2)
    inserts = [asked("exec", INSERT, VALUES)]
    selects = [asked("query", SELECT, [n]) for n in shuffled()]
    joins = [asked("query", JOIN, [json.dumps(vector(chance))]) for _ in range(256)]
    for group, requests in (("insert", inserts), ("select", selects), ("join", joins)):
        way = loaded(server, requests, b'{"error"', loader, directory)
        yield Target(group, "kissvdb", way, 10**6 if group == "insert" else READERS)


def shuffled() -> list[int]:
    keys = list(range(1, ROWS + 1))
    random.Random(1).shuffle(keys)
    return keys


@contextmanager
def datasette(directory: Path) -> Iterator[tuple[Server, str]]:
    """Datasette (1.0, which writes), and a token of its root."""
    program = find("datasette", "pip install --pre 'datasette>=1.0a0' into .venv-bench")
    file = directory / "items.db"
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(TABLE)
    with_rows(db)
    db.close()
    secret = "of a bench"
    made = subprocess.run(
        [program, "create-token", "root", "--secret", secret],
        capture_output=True,
        text=True,
        check=True,
    )
    port = free_port()
    command = [program, "serve", str(file), "--port", str(port), "--secret", secret, "--root"]
    its_version = version_of([program, "--version"])
    settings = "WAL, synchronous=FULL"
    with running("datasette", its_version, settings, port, directory, command) as server:
        wait(server, lambda: http_ok(port, "/-/versions.json"))
        yield server, made.stdout.strip()


def of_datasette(
    server: Server, token: str, loader: Sequence[str], directory: Path
) -> Iterator[Target]:
    row = protocols.compact({"row": {"name": VALUES[0], "size": VALUES[1]}})
    insert = protocols.http("POST", "/items/items/-/insert", row)
    head, _, body = insert.partition(b"\r\n\r\n")
    insert = b"%b\r\nAuthorization: Bearer %b\r\n\r\n%b" % (head, token.encode(), body)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/items/items/-/insert",
        row,
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.status == 201, answer.status
    selects = [protocols.http("GET", f"/items/items/{key}.json?_shape=array") for key in shuffled()]
    for group, requests in (("insert", [insert]), ("select", selects)):
        way = loaded(server, requests, b'"ok": false', loader, directory)
        yield Target(group, "datasette", way, 10**6 if group == "insert" else READERS)


if __name__ == "__main__":
    sys.exit(main())
