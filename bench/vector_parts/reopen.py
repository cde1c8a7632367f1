"""How soon is a collection of all vectors there again, and how much memory does it take?

Times are from the start of the process, and from the moment when it has imported everything; until
its compiled code is loaded, a server searches exactly.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.load import report, servers
from bench.load.process import ROOT, Server, free_port
from bench.load.report import Cell, Place
from bench.vector_parts import ours
from bench.vector_parts.data import Data
from bench.vector_parts.goals import Goal
from bench.vector_parts.outcome import Outcome
from bench.vector_parts.wire import Connection, Refused

NAME = "bench"
START_SECS_MAX = 60.0
# Asking more often would slow down what is measured.
POLL_SECS = 0.005
SEARCHES = 1000
STARTED, IMPORTED, EMBEDDED = "from the start", "after imports", "embedded, after imports"


def run(data: Data, arguments: argparse.Namespace) -> Outcome:
    """Fill a collection, then open it again and again."""
    where = Path(arguments.directory) / "reopen"
    where.mkdir()
    cells = []
    bare = _bare_memory(Path(arguments.directory) / "bare", data)
    with servers.kissvdb(where, name="lane") as server:
        ours.fill(server, NAME, data)
        ours.search_all(server, NAME, data.queries[:SEARCHES])
        cells.append(_memory("after loading", server, bare, data))
    query = where / "query.f32"
    data.queries[0].astype("<f4").tofile(query)
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for opening, way in ((STARTED, _serve), (IMPORTED, _serve_imported), (EMBEDDED, _embed)):
            cells.append(Cell(Place("open again", opening, 1), number, way(where, query, data)))
    with servers.kissvdb(where, name="lane") as server:
        ours.search_all(server, NAME, data.queries[:SEARCHES])
        ours.settle(server, NAME)
        cells.append(_memory("after a restart", server, bare, data))
    return Outcome(cells, _goals(cells), servers=[server])


def _goals(cells: list[Cell]) -> list[Goal]:
    found = {place.target: metrics for place, metrics in report.medians(cells).items()}
    return [
        Goal(f"ms until the first search is answered, {way}", found[way]["answered_ms"], most=100.0)
        for way in (IMPORTED, EMBEDDED)
    ]


def _serve(where: Path, query: Path, data: Data) -> dict[str, float]:
    port = free_port()
    command = [sys.executable, "-m", "kissvdb", "serve", "--port", str(port)]
    command += ["--data-dir", str(where / "data"), "--logs", "warning"]
    return _watched(command, where, port, data, lambda process, began: began)


def _serve_imported(where: Path, query: Path, data: Data) -> dict[str, float]:
    port = free_port()
    command = [sys.executable, "-m", "bench.vector_parts.reopened", "server", str(port)]
    command.append(str(where / "data"))

    def imported(process: subprocess.Popen[bytes], began: int) -> int:
        return int(json.loads(_line(process))["imported_ns"])

    return _watched(command, where, port, data, imported)


def _embed(where: Path, query: Path, data: Data) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.vector_parts.reopened", "embedded", NAME]
    process = _started([*command, str(where / "data"), str(query)], where)
    _line(process)
    found = json.loads(_line(process))
    process.wait(START_SECS_MAX)
    _check(found["ids"], data)
    return {
        "ready_ms": found["open_ms"],
        "answered_ms": found["answered_ms"],
        "compiled_ms": found["compiled_ms"],
    }


def _watched(
    command: list[str],
    where: Path,
    port: int,
    data: Data,
    zero: Callable[[subprocess.Popen[bytes], int], int],
) -> dict[str, float]:
    """Start a server, and ask until it is ready, answers a search, and does so by compiled code."""
    began = time.monotonic_ns()
    process = _started(command, where)
    try:
        began = zero(process, began)
        server = Server("lane", "", "", port, where, process)
        ready = b"GET /v1/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
        search = ours.raw_search(NAME, data.queries[0], explain="true")
        found = {}
        _until(server, ready, lambda answer: True)
        found["ready_ms"] = (time.monotonic_ns() - began) / 1e6
        first = _until(server, search, lambda answer: True)
        found["answered_ms"] = (time.monotonic_ns() - began) / 1e6
        _check(ours.hits(first), data)
        _until(server, search, lambda answer: b'"exact scan"' not in answer)
        found["compiled_ms"] = (time.monotonic_ns() - began) / 1e6
        return found
    finally:
        process.terminate()
        process.wait(START_SECS_MAX)


def _started(command: list[str], where: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=where, env=environment, stdout=subprocess.PIPE)


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def _until(server: Server, request: bytes, is_good: Callable[[bytes], bool]) -> bytes:
    """Ask until an answer is good: nobody may listen yet, or the server may not be ready."""
    deadline = time.monotonic() + START_SECS_MAX
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with Connection(server) as connection:
                answer = connection.ask(request)
                if is_good(answer):
                    return answer
        except (OSError, Refused):
            pass
        time.sleep(POLL_SECS)
    raise SystemExit(f"no good answer to {request[:60]!r}")


def _check(ids: list[str], data: Data) -> None:
    best = data.ids[data.truth[0, 0]]
    if best not in ids:
        raise SystemExit(f"after opening, the nearest vector {best} was not found: {ids}")


def _bare_memory(where: Path, data: Data) -> dict[str, float]:
    """The memory of a server with an empty collection and all code loaded."""
    where.mkdir()
    with servers.kissvdb(where, name="lane") as server:
        with Connection(server) as connection:
            ours.create(connection, NAME, data.base.shape[1])
        time.sleep(1.0)
        ours.search_all(server, NAME, data.queries[:SEARCHES])
        return _resident(server)


def _memory(when: str, server: Server, bare: dict[str, float], data: Data) -> Cell:
    rows = len(data.base)
    metrics = {name: (value - bare[name]) / rows for name, value in _resident(server).items()}
    metrics["reported"] = ours.look(server, NAME)["bytes"] / rows
    folder = server.directory / "data" / "vectors" / NAME
    on_disk = (file.stat().st_blocks * 512 for file in folder.iterdir())
    metrics["disk"] = sum(on_disk) / rows
    return Cell(Place("memory", when, 1), 0, metrics)


def _resident(server: Server) -> dict[str, float]:
    """Resident bytes of a server: its own (``anon``), and pages of files it has mapped."""
    found = {"anon": 0.0, "mapped": 0.0}
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            found["anon" if name == "RssAnon" else "mapped"] = float(value.split()[0]) * 1024
    return found
