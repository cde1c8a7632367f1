"""What does it take to find documents: beside SQLite with declared indexes, lancedb, a plain scan?

Reads DIR/meta.jsonl.gz, one JSON object a line. All are asked for the same 20 documents, in one
process, question by question in turn, and give the JSON texts of what they find; microseconds, p50
and p95 of all questions. Ours are the rows behind `/v1/doc/{c}/find`: no field is declared, and no
two questions are the same, so no filter is remembered. `--server` asks a running server as well,
over HTTP, after loading the documents into it through `/v1/bulk`: documents a second until all are
durable and can be found.
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
from kissvdb.config import Config, Limits, Server, Storage
from kissvdb.core.filters import parse as filters
from kissvdb.core.find import Find, SortKey
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.changes import DocumentWritten
from kissvdb.core.rows.find import find
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.store.id_map import SALT_BYTES
from kissvdb.testing import serve

LIMIT = 20
BATCH = 1024
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
    command.add_argument("--name", default="documents", help="of the results")
    arguments = command.parse_args()
    about = report.machine(arguments.data, "not used")
    with gzip.open(arguments.data / "meta.jsonl.gz") as file:
        texts = file.read().splitlines()
    documents = [msgspec.json.decode(text) for text in texts]
    with tempfile.TemporaryDirectory() as scratch:
        peers = dict(opened(documents, texts, Path(scratch)))
        loads = {}
        if arguments.server:
            with served() as server:
                loads["ingest over /v1/bulk, documents/s"] = load(server.port, documents, texts)
                peers["kissvdb over HTTP"] = over_http(server.port)
                rows = asked(peers, questions(documents, arguments.rounds))
        else:
            rows = asked(peers, questions(documents, arguments.rounds))
    report.print_table([list(row.values()) for row in rows], list(rows[0]))
    for name, rate in loads.items():
        print(f"{name}: {rate:,.0f}")
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


def served() -> Any:
    storage = Storage(data_dir=tempfile.mkdtemp(prefix="kissvdb-bench-", dir="/var/tmp"))
    return serve(
        Config(server=Server(port=0), storage=storage, limits=Limits(json_bytes_max=1 << 20))
    )


def load(port: int, documents: Sequence[Row], texts: Sequence[bytes]) -> float:
    """Documents a second through one streamed request, until the last can be found."""
    lines = [
        b'{"op":"doc_put","collection":"d","id":%b,"doc":%b}\n'
        % (msgspec.json.encode(each["id"]), text)
        for each, text in zip(documents, texts, strict=True)
    ]
    parts = [b"".join(lines[start : start + 256]) for start in range(0, len(lines), 256)]
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"content-type": "application/x-ndjson"}
    connection.request("POST", "/v1/bulk?answers=errors", iter(parts), headers, encode_chunked=True)
    summary = json.loads(connection.getresponse().read().splitlines()[-1])
    assert (summary["operations"], summary["errors"]) == (len(lines), 0), summary
    connection.close()
    assert len(over_http(port)(Question("last", {SOURCE: documents[-1][SOURCE]})))
    return len(lines) / (time.perf_counter() - started)


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
