"""What does it take to find documents: beside SQLite with declared indexes, lancedb, a plain scan?

Reads DIR/meta.jsonl.gz, one JSON object a line. All are asked for the same 20 documents, in one
process, question by question in turn, and give the JSON texts of what they find; microseconds, p50
and p95 of all questions. Ours are the rows behind `/v1/doc/{c}/find`: no field is declared, and no
two questions are the same, so no filter is remembered. `--server` asks a running server as well,
over HTTP, after loading the documents into it through `/v1/bulk`, in turns with the same texts as
values of plain keys: how many a second until all are durable, and until all can be found, and what
CPU time of the server each costs. `--loads N` does nothing else than to load all documents in one
stream, N times, each time into a server of its own.
"""

import argparse
import gzip
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import http.client

import attrs
import msgspec

from bench.load import report
from bench.load.closed_loop import cpu_seconds
from bench.load.process import Server, call
from bench.load.servers import kissvdb
from kissvdb.core.filters import parse as filters
from kissvdb.core.find import Find, SortKey
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.changes import DocumentWritten
from kissvdb.core.rows.find import find
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.store.id_map import SALT_BYTES

LIMIT = 20
BATCH = 1024
LOADED_AT_ONCE = 8192
SETTLE_SECONDS = 2.0
"""For merges and whatever else comes behind a load."""
PUT = b'{"op":"doc_put","collection":"d","id":%b,"doc":%b}\n'
SIZE, SECTION, TEAM, SOURCE = "installed_size_kb", "section", "maintainer_team", "source"
INDEXED = (SECTION, TEAM, SOURCE, SIZE)

Row = dict[str, Any]
Answer = Callable[["Question"], Sequence[Any]]


@attrs.frozen
class Question:
    """``equal`` to values of fields, within [``low``, ``high``) of sizes, ``by`` size, largest
    first, or by id."""

    name: str
    equal: Row
    low: int | None = None
    high: int | None = None
    by_size: bool = False


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--rounds", type=int, default=100, help="questions of each kind")
    command.add_argument("--server", action="store_true", help="also over HTTP, and the load")
    command.add_argument("--loads", type=int, default=0, metavar="N", help="only the load, N times")
    command.add_argument("--name", default="documents", help="of the results")
    arguments = command.parse_args()
    about = report.machine(arguments.data, "not used")
    with gzip.open(arguments.data / "meta.jsonl.gz") as file:
        texts = file.read().splitlines()
    documents = [msgspec.json.decode(text) for text in texts]
    if arguments.loads:
        loads = alone(documents, texts, arguments.loads)
        report.print_table([list(row.values()) for row in loads], list(loads[0]))
        results = {**about, "documents": len(documents), "loads": loads}
        path = report.RESULTS / f"{arguments.name}_load.json"
        path.write_text(json.dumps(results, indent=1))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        peers = dict(opened(documents, texts, Path(scratch)))
        loads = []
        if arguments.server:
            with kissvdb(Path(scratch), "limits.json_bytes_max=1048576") as server:
                loads = loaded(server, documents, texts)
                peers["kissvdb over HTTP"] = over_http(server.port)
                rows = asked(peers, questions(documents, arguments.rounds))
        else:
            rows = asked(peers, questions(documents, arguments.rounds))
    report.print_table([list(row.values()) for row in rows], list(rows[0]))
    if loads:
        report.print_table([list(row.values()) for row in loads], list(loads[0]))
    results = {**about, "documents": len(documents), "finds": rows, "loads": loads}
    report.RESULTS.joinpath(f"{arguments.name}.json").write_text(json.dumps(results, indent=1))
    return 0


def questions(documents: Sequence[Row], rounds: int) -> list[list[Question]]:
    """Rounds of one question of each kind. Every filter names values that some document has."""
    chance = random.Random(1)
    found = []
    for _ in range(rounds):
        one, other = chance.choice(documents), chance.choice(documents)
        low = chance.randrange(10_000)
        found.append(
            [
                Question("equality, few (source)", {SOURCE: one[SOURCE]}),
                Question("equality, many (section)", {SECTION: one[SECTION], TEAM: one[TEAM]}),
                Question("range (size)", {}, low, low + 50),
                Question("sort all (by size)", {}, None, 1_000_000_000 + low, by_size=True),
                Question("filter and sort", {SECTION: other[SECTION]}, low // 10, None, True),
            ]
        )
    return found


def asked(peers: dict[str, Answer], rounds: Sequence[Sequence[Question]]) -> list[dict[str, Any]]:
    """p50 and p95 of each kind of question and peer; all must find as many."""
    taken: dict[tuple[str, str], list[float]] = {}
    for number, each in enumerate(rounds):
        for question in each:
            counts = set()
            for name, answer in peers.items():
                if name == "plain scan" and number >= 5:
                    continue
                started = time.perf_counter()
                counts.add(len(answer(question)))
                spent = time.perf_counter() - started
                taken.setdefault((question.name, name), []).append(spent * 1e6)
            assert len(counts) == 1, (question, counts)
    return [
        {
            "question": question,
            "of": name,
            "p50_us": round(sorted(spent)[len(spent) // 2]),
            "p95_us": round(sorted(spent)[int(len(spent) * 0.95)]),
        }
        for (question, name), spent in taken.items()
    ]


def opened(
    documents: Sequence[Row], texts: Sequence[bytes], scratch: Path
) -> Iterator[tuple[str, Answer]]:
    """Every peer that is installed."""
    yield "kissvdb", our_rows(documents, texts)
    yield "SQLite, indexes declared", sqlite(documents, texts, scratch)
    lance = lancedb(documents, texts, scratch)
    if lance is not None:
        yield "lancedb, indexes declared", lance
    yield "plain scan", scan(documents, texts)


def tree_of(question: Question) -> dict[str, Any]:
    """The filter, as a client writes it."""
    bounds = {"$gte": question.low, "$lt": question.high}
    size = {name: bound for name, bound in bounds.items() if bound is not None}
    return {**question.equal, **({SIZE: size} if size else {})}


def our_rows(documents: Sequence[Row], texts: Sequence[bytes]) -> Answer:
    rows = Rows(CollectionSpec.of_documents("d"), bytes(SALT_BYTES), Kernels())
    for start in range(0, len(texts), BATCH):
        part = range(start, min(start + BATCH, len(texts)))
        writes = [DocumentWritten(documents[n]["id"], texts[n], 1, n + 1) for n in part]
        rows.apply_all([(n + 1, write) for n, write in zip(part, writes, strict=True)])
        while (work := rows.work_due()) is not None:
            work.run()
            rows.install(work)
    view = rows.view(0)

    def answer(question: Question) -> Sequence[Any]:
        sort = (SortKey(SIZE, descending=True),) if question.by_size else ()
        asked = Find(filters.parse(tree_of(question)), sort, LIMIT)
        return [view.data.meta(row) for row in find(view, asked).rows]

    return answer


def sqlite(documents: Sequence[Row], texts: Sequence[bytes], scratch: Path) -> Answer:
    db = sqlite3.connect(scratch / "documents.db")
    columns = ", ".join(f"{name}" for name in INDEXED)
    db.execute(f"CREATE TABLE d (id TEXT PRIMARY KEY, {columns}, doc BLOB) WITHOUT ROWID")
    db.executemany(
        "INSERT INTO d VALUES (?, ?, ?, ?, ?, ?)",
        [
            (each["id"], *(each[name] for name in INDEXED), text)
            for each, text in zip(documents, texts, strict=True)
        ],
    )
    for name in INDEXED:
        db.execute(f"CREATE INDEX d_{name} ON d ({name})")
    db.execute("ANALYZE")
    db.commit()

    def answer(question: Question) -> Sequence[Any]:
        where, values = conditions(question, "?")
        order = f"{SIZE} DESC, id" if question.by_size else "id"
        return db.execute(
            f"SELECT doc FROM d WHERE {where} ORDER BY {order} LIMIT {LIMIT}", values
        ).fetchall()

    return answer


def conditions(question: Question, mark: str) -> tuple[str, list[Any]]:
    """An SQL condition; with a mark its values stand apart."""
    parts, values = [], []
    bounds = ((f"{SIZE} >=", question.low), (f"{SIZE} <", question.high))
    for name, value in (*((f"{key} =", each) for key, each in question.equal.items()), *bounds):
        if value is None:
            continue
        quoted = "'" + str(value).replace("'", "''") + "'" if isinstance(value, str) else str(value)
        parts.append(f"{name} {mark or quoted}")
        values.append(value)
    return " AND ".join(parts), values


def lancedb(documents: Sequence[Row], texts: Sequence[bytes], scratch: Path) -> Answer | None:
    try:
        import lancedb as lance  # type: ignore[import-not-found]
        import pyarrow as pa  # type: ignore[import-not-found]
    except ImportError:
        print("lancedb is not installed: left out", file=sys.stderr)
        return None
    columns = {name: [each[name] for each in documents] for name in ("id", *INDEXED)}
    table = lance.connect(scratch / "lance").create_table(
        "d", pa.table({**columns, "doc": [text.decode() for text in texts]})
    )
    for name, kind in zip(INDEXED, ("BITMAP", "BITMAP", "BTREE", "BTREE"), strict=True):
        table.create_scalar_index(name, index_type=kind)

    def answer(question: Question) -> Sequence[Any]:
        where, _ = conditions(question, "")
        if not question.by_size:
            # In no order: it has none to ask for.
            return list(table.search().where(where).select(["doc"]).limit(LIMIT).to_list())
        sizes = table.search().where(where).select(["id", SIZE]).limit(len(documents)).to_arrow()
        best = sizes.sort_by([(SIZE, "descending"), ("id", "ascending")]).slice(0, LIMIT)
        names = ", ".join("'" + name.replace("'", "''") + "'" for name in best["id"].to_pylist())
        if not names:
            return []
        return list(table.search().where(f"id IN ({names})").select(["doc"]).to_list())

    return answer


def scan(documents: Sequence[Row], texts: Sequence[bytes]) -> Answer:
    """Documents that are decoded already, looked at one after another."""

    def answer(question: Question) -> Sequence[Any]:
        tree = filters.parse(tree_of(question))
        found = [(each, n) for n, each in enumerate(documents) if filters.matches(tree, each)]
        if question.by_size:
            found.sort(key=lambda one: (-(one[0][SIZE] or 0), one[0]["id"]))
        else:
            found.sort(key=lambda one: one[0]["id"])
        return [texts[n] for _, n in found[:LIMIT]]

    return answer


def loaded(server: Server, documents: Sequence[Row], texts: Sequence[bytes]) -> list[Row]:
    """What it takes to write all documents, and their texts as values of keys, in turns."""
    operations = {
        "documents": PUT,
        "plain keys": b'{"op":"put","key":%b,"value":%b}\n',
    }
    names = [msgspec.json.encode(each["id"]) for each in documents]
    warm(server)
    found: dict[str, list[float]] = {name: [0.0] * 3 for name in operations}
    for start in range(0, len(names), LOADED_AT_ONCE):
        part = slice(start, start + LOADED_AT_ONCE)
        for name, form in operations.items():
            lines = [form % pair for pair in zip(names[part], texts[part], strict=True)]
            before, began = cpu_seconds(server.pids()), time.perf_counter()
            send(server.port, lines)
            found[name][0] += time.perf_counter() - began
            if name == "documents":
                last = Question("last", {SOURCE: documents[part][-1][SOURCE]})
                assert len(over_http(server.port)(last))
            found[name][1] += time.perf_counter() - began
            time.sleep(SETTLE_SECONDS)
            found[name][2] += cpu_seconds(server.pids()) - before
    return [
        {
            "written": name,
            "acknowledged/s": round(len(names) / acknowledged),
            "findable/s": round(len(names) / findable),
            "server CPU us each": round(cpu / len(names) * 1e6, 1),
        }
        for name, (acknowledged, findable, cpu) in found.items()
    ]


def alone(documents: Sequence[Row], texts: Sequence[bytes], rounds: int) -> list[Row]:
    """All documents in one stream to a server that does nothing else, in each round another one:
    how many a second until all are acknowledged, and until the last is found; and what CPU time of
    the server that took; and what it takes to be ready when it is started again."""
    lines = [
        PUT % (msgspec.json.encode(each["id"]), text)
        for each, text in zip(documents, texts, strict=True)
    ]
    last = Question("last", {SOURCE: documents[-1][SOURCE]})
    loads = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            directory, setting = Path(scratch), "limits.json_bytes_max=1048576"
            with kissvdb(directory, setting) as server:
                warm(server)
                before, began = cpu_seconds(server.pids()), time.perf_counter()
                send(server.port, lines)
                acknowledged, cpu = time.perf_counter() - began, cpu_seconds(server.pids()) - before
                assert len(over_http(server.port)(last))
                findable, all_cpu = time.perf_counter() - began, cpu_seconds(server.pids()) - before
            with kissvdb(directory, setting) as server:
                again = cpu_seconds(server.pids())
        row = {
            "load": number + 1,
            "acknowledged/s": round(len(lines) / acknowledged),
            "findable/s": round(len(lines) / findable),
            "CPU until acknowledged, us each": round(cpu / len(lines) * 1e6, 1),
            "CPU until findable, us each": round(all_cpu / len(lines) * 1e6, 1),
            "CPU until ready again, ms": round(again * 1e3),
        }
        loads.append(row)
    return loads


def warm(server: Server) -> None:
    """Return when the compiled code is there, in another process or a thread, and it is idle."""
    call(server.port, "PUT", "/v1/doc/warm/up", b'{"text":"words"}')
    spent = 0.0
    while (now := cpu_seconds(server.pids())) - spent > 0.05:
        spent = now
        time.sleep(SETTLE_SECONDS)


def send(port: int, lines: Sequence[bytes]) -> None:
    """All in one streamed request, until the last is durable."""
    parts = [b"".join(lines[start : start + 256]) for start in range(0, len(lines), 256)]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"content-type": "application/x-ndjson"}
    connection.request("POST", "/v1/bulk?answers=errors", iter(parts), headers, encode_chunked=True)
    summary = json.loads(connection.getresponse().read().splitlines()[-1])
    assert (summary["operations"], summary["errors"]) == (len(lines), 0), summary
    connection.close()


def over_http(port: int) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def answer(question: Question) -> Sequence[Any]:
        body = {"filter": tree_of(question), "limit": LIMIT}
        if question.by_size:
            body["sort"] = f"-{SIZE}"
        connection.request("POST", "/v1/doc/d/find", json.dumps(body))
        found: Sequence[Any] = json.loads(connection.getresponse().read())["documents"]
        return found

    return answer


if __name__ == "__main__":
    sys.exit(main())
