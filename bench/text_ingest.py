"""Texts in, texts found: one stream of texts into a collection that embeds them, then queries.

DIR holds `meta.jsonl.gz` (a JSON object a row, with `id` and `description`) and `queries.jsonl`
(`text`, with `target` and `target_row`: the row that was meant). All rows go through one
`POST /v1/bulk`, whose answers tell how far it is. Broken off and started again on the same --dir it
goes on: what is there already is left alone (`if_changed`), and not embedded again.

Of the target's place r, MRR@100 is the mean of 1 / r (0 beyond 100), R@1 and R@10 are how many are
among the first. The index, the embedder and the way over HTTP are those of a server as it comes.
"""

import argparse
import gzip
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

# Import from the root instead of from here: the script's directory is not a package of its own.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from http.client import HTTPConnection

from bench.load import report
from bench.load.closed_loop import cpu_seconds
from bench.load.process import Server, call, check_disk
from bench.load.servers import kissvdb

COLLECTION = "texts"
DEPTH = 100
PROGRESS_ROWS = 1000
ANSWER_SECONDS_MAX = 600
MODES = ("text", "vector", "hybrid")

Row = dict[str, Any]


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--dir", type=Path, required=True, help="where the server keeps its data")
    command.add_argument("--rows", type=int, default=None, help="only the first so many")
    command.add_argument("--queries", type=int, default=1000, help="the first so many")
    arguments = command.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    about = report.machine(arguments.data, check_disk(arguments.dir))
    with kissvdb(arguments.dir) as server:
        create(server)
        before = cpu_seconds(server.pids())
        lines = list(rows(arguments.data, arguments.rows))
        figures = ingest(server, lines)
        figures["cpu_seconds"] = round(cpu_seconds(server.pids()) - before, 1)
        found = ask(server, queries(arguments.data, len(lines))[: arguments.queries])
    report.print_table([list(row.values()) for row in found], list(found[0]))
    content = {"about": about, "ingest": figures, "found": found}
    (report.RESULTS / "text_ingest.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0


def rows(directory: Path, count: int | None) -> Iterator[bytes]:
    """The lines of the stream."""
    with gzip.open(directory / "meta.jsonl.gz") as file:
        for line in islice(file, count):
            meta = json.loads(line)
            text = meta.pop("description")
            operation = {"op": "upsert", "collection": COLLECTION, "id": meta["id"], "meta": meta}
            yield json.dumps({**operation, "text": text, "if_changed": True}).encode() + b"\n"


def create(server: Server) -> None:
    known = json.loads(call(server.port, "GET", "/v1/vector"))["collections"]
    if COLLECTION not in [each["collection"] for each in known]:
        body = json.dumps({"embedder": "default"}).encode()
        call(server.port, "POST", f"/v1/vector/{COLLECTION}", body)


def ingest(server: Server, lines: list[bytes]) -> Row:
    """Send all in one request; a line of the answer comes for each, as soon as it is durable."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_SECONDS_MAX)
    started = time.perf_counter()
    connection.putrequest("POST", "/v1/bulk")
    connection.putheader("Content-Type", "application/x-ndjson")
    connection.putheader("Content-Length", str(sum(map(len, lines))))
    connection.endheaders()
    # The socket itself: an answer that begins before the request ends closes the connection, and
    # then the object would open another one for the rest.
    sender = threading.Thread(target=_send, args=(connection.sock, lines), daemon=True)
    sender.start()
    answer = connection.getresponse()
    unchanged = failed = 0
    for place, line in enumerate(answer, 1):
        outcome = json.loads(line)
        failed += "error" in outcome
        unchanged += outcome.get("status") == "unchanged" or bool(outcome.get("unchanged"))
        if place % PROGRESS_ROWS == 0:
            rate = place / (time.perf_counter() - started)
            print(f"{place:,} of {len(lines):,} rows, {rate:.0f} a second", flush=True)
    seconds = time.perf_counter() - started
    print(f"{len(lines):,} rows, {failed} refused, {unchanged} there before, {seconds:.0f} s")
    return {"rows": len(lines), "refused": failed, "there_before": unchanged, "seconds": seconds}


def _send(connection: socket.socket, lines: list[bytes]) -> None:
    for line in lines:
        connection.sendall(line)


def queries(directory: Path, count: int) -> list[Row]:
    """Those that mean one of the first ``count`` rows."""
    with (directory / "queries.jsonl").open() as file:
        return [query for query in map(json.loads, file) if query["target_row"] < count]


def ask(server: Server, queries: list[Row]) -> list[Row]:
    found = []
    for mode in MODES:
        places = []
        for query in queries:
            body = {"text": query["text"], "mode": mode, "k": DEPTH}
            target = f"/v1/vector/{COLLECTION}/search"
            answer = json.loads(call(server.port, "POST", target, json.dumps(body).encode()))
            ids = [hit["id"] for hit in answer["hits"]]
            places.append(ids.index(query["target"]) + 1 if query["target"] in ids else 0)
        found.append({"mode": mode, **figures(places)})
        print(f"{mode}: {len(queries):,} queries", flush=True)
    return found


def figures(places: list[int]) -> Row:
    """``places``: 1 is the best, 0 is not found."""
    count = len(places)
    return {
        "R@1": round(sum(place == 1 for place in places) / count, 3),
        "R@10": round(sum(0 < place <= 10 for place in places) / count, 3),
        "MRR@100": round(sum(1 / place for place in places if place) / count, 4),
    }


if __name__ == "__main__":
    sys.exit(main())
