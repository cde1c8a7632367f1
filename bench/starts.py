"""How soon is a server ready after a kill, in the middle of as many writes as it takes?

For each kind of data a fresh server is loaded through ``POST /v1/bulk``, killed (kill -9), started,
killed while it is idle, and started once more. What it answered for must be there.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import numpy as np

from bench.load import options, protocols, report
from bench.load.process import Server, call
from bench.scale_parts.beside import resident
from bench.scale_parts.server import cpu_s, started
from bench.vector_parts.wire import Connection

BULK = "/v1/bulk?answers=errors"
LINES = 250
TEXT = "x" * 110
DIM = 64
CONNECTIONS = 2
HEADS = ("written/s", "ready, s", "CPU s", "again, s", "CPU s again", "own memory, MB")


@attrs.frozen
class Kind:
    """``line``: the operation with a number. ``found``: a SELECT that answers 1 if that is there,
    which was answered with an offset. ``made``: what to ask for first."""

    line: Callable[[int], dict[str, object]]
    found: Callable[[int, int], str]
    made: tuple[str, dict[str, object]] | None = None


def _event(number: int) -> dict[str, object]:
    return {"op": "event", "type": "tick", "data": {"n": number, "text": TEXT}}


def _key(number: int) -> dict[str, object]:
    # A step that is prime to a million: every key once, in no order.
    return {"op": "put", "key": f"key:{number * 7919 % 1_000_000:06}", "value": {"text": TEXT}}


def _document(number: int) -> dict[str, object]:
    doc = {"title": f"document {number}", "n": number, "tag": f"t{number % 10}", "text": TEXT}
    return {"op": "doc_put", "collection": "docs", "id": f"d{number}", "doc": doc}


_NUMBERS = np.random.default_rng(0).normal(size=(1000, DIM)).round(4).tolist()


def _vector(number: int) -> dict[str, object]:
    vector = _NUMBERS[number % len(_NUMBERS)]
    return {"op": "upsert", "collection": "vectors", "id": f"v{number}", "vector": vector}


def _row(number: int) -> dict[str, object]:
    return {"op": "sql", "sql": "INSERT INTO t(n, text) VALUES (?, ?)", "params": [number, TEXT]}


KINDS = {
    "events": Kind(
        _event, lambda number, offset: f'SELECT count(*) FROM events WHERE "offset" = {offset}'
    ),
    "keys": Kind(
        _key,
        lambda number, offset: f"SELECT count(*) FROM state WHERE key = '{_key(number)['key']}'",
    ),
    "documents": Kind(
        _document,
        lambda number, offset: f"""SELECT count(*) FROM documents('docs', '{{"n": {number}}}')""",
    ),
    "vectors": Kind(
        _vector,
        lambda number, offset: f"SELECT count(*) FROM vectors('vectors') WHERE id = 'v{number}'",
        ("/v1/vector/vectors", {"dim": DIM, "metric": "cosine"}),
    ),
    "rows of SQL": Kind(
        _row,
        lambda number, offset: f"SELECT count(*) FROM t WHERE n = {number}",
        ("/v1/sql/exec", {"sql": "CREATE TABLE t(n INTEGER, text TEXT)"}),
    ),
}


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--seconds", type=options.positive, default=20, help="of each load")
    command.add_argument("--only", default=",".join(KINDS), help="kinds, by commas")
    arguments = command.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(KINDS):
        command.error(f"no kind {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
    with options.scratch(arguments.dir, command) as (directory, file_system):
        outcomes = {name: measure(name, directory / name, arguments.seconds) for name in names}
        about = report.machine(directory, file_system)
    rows = [[name, "kissvdb", *found.values()] for name, found in outcomes.items()]
    report.print_table(rows, ["what", "server", *HEADS])
    file = report.RESULTS / f"{arguments.name or 'starts'}.json"
    file.write_text(json.dumps({"about": about, "starts": outcomes}, indent=1) + "\n")
    return 0


def measure(name: str, where: Path, seconds: float) -> dict[str, float]:
    """The figures that HEADS names."""
    where.mkdir()
    kind, figures = KINDS[name], list[float]()
    server = started(where)
    try:
        if kind.made is not None:
            path, body = kind.made
            call(server.port, "POST", path, protocols.compact(body))
        count, last = load(server, kind, seconds)
        figures.append(count / seconds)
        for _ in range(2):
            server.process.kill()
            server.process.wait()
            began = time.monotonic()
            server = started(where)
            figures += [time.monotonic() - began, cpu_s(server)]
            for each in last:
                check(server, kind.found(*each))
        figures.append(resident(server)["anonymous"] / 1e6)
    finally:
        server.process.kill()
        server.process.wait()
    return dict(zip(HEADS, figures, strict=True))


def load(server: Server, kind: Kind, seconds: float) -> tuple[int, list[tuple[int, int]]]:
    """Write as much as is taken; how many were answered, and of each connection the last: its
    number and offset."""
    last: list[tuple[int, int]] = []
    counts: list[int] = []
    refused: list[bytes] = []
    ends_at = time.monotonic() + seconds

    def write(first: int) -> None:
        number, offset = first, 0
        while time.monotonic() < ends_at:
            numbers = range(number, number + CONNECTIONS * LINES, CONNECTIONS)
            lines = b"".join(protocols.compact(kind.line(each)) + b"\n" for each in numbers)
            # An answer that begins before all is read ends its connection.
            with Connection(server) as connection:
                answer = connection.ask(protocols.http("POST", BULK, lines, protocols.BULK))
            done = json.loads(answer.splitlines()[-1])
            if done["errors"]:
                refused.append(answer[:500])
                return
            number, offset = numbers[-1] + CONNECTIONS, done["offset"]
        counts.append((number - first) // CONNECTIONS)
        last.append((number - CONNECTIONS, offset))

    writers = [threading.Thread(target=write, args=(each,)) for each in range(CONNECTIONS)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    if len(last) < CONNECTIONS:
        raise SystemExit(f"a connection ended before its time: {refused}")
    return sum(counts), last


def check(server: Server, select: str) -> None:
    """Raises SystemExit if something that was answered is not there."""
    answer = json.loads(
        call(server.port, "POST", "/v1/sql/query", protocols.compact({"sql": select}))
    )
    if list(answer["rows"][0].values()) != [1]:
        raise SystemExit(f"{answer['rows']} is the answer to {select}: a write is lost")


if __name__ == "__main__":
    sys.exit(main())
