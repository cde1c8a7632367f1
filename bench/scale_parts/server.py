"""A load of all rows through the server, searched meanwhile; a kill; filtered searches.

The rows go through one connection in raw batches of 256, the next when the one before is answered.
Beside it, on connections of their own: a searcher that asks for the vector written last, which must
be found at once and exactly, and for any query, whose answer is compared with an exact search now
and then; and a look at the progress and the memory. At last rows are written again, and the server
is killed in the middle of that, started, stopped, and started once more.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from bench.load import report
from bench.load.process import ROOT, Server, free_port
from bench.load.report import Cell, Place
from bench.scale_parts import judged
from bench.scale_parts.beside import Beside, resident
from bench.scale_parts.made import K, Made, nearest, unit
from bench.vector_parts import ours
from bench.vector_parts.goals import Goal, show
from bench.vector_parts.outcome import Outcome
from bench.vector_parts.wire import Connection, Refused

NAME = "scale"
SHARES = {0.001: 1, 0.01: 10, 0.1: 100, 0.5: 500}
"""The part of the rows that passes, and the number below which their field ``u`` is then."""
U_MAX = 1000
LOAD_ROWS = 10_000
FILTERED = 200
READY_SECS_MAX = 120.0
SETTLE_SECS_MAX = 7200.0
KILLED_AFTER_SECS = 5.0
SETTLED_SECS = 40.0
"""By then everything a server holds is in files, as far as it is done now and then."""


def run(found: Made, arguments: argparse.Namespace) -> int:
    """Load, kill, open, search; print and save."""
    where = found.directory / f"server_{arguments.kind}"
    if arguments.starts:
        return _starts(where, found)
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    about = report.machine(where, "as --work has it")
    numbers = np.random.default_rng(0).integers(0, U_MAX, len(found.base))
    cells = []
    server = started(where)
    try:
        with Connection(server) as connection:
            body = ours.protocols.compact(
                {"dim": found.base.shape[1], "metric": "cosine", "index": {"kind": arguments.kind}}
            )
            connection.ask(ours.protocols.http("POST", f"/v1/vector/{NAME}", body))
        cells.append(Cell(Place("load", arguments.kind, 1), 0, load(server, found, numbers)))
        cells += searched(server, found, numbers, arguments.kind)
        killed_loading(server, found, numbers)
    finally:
        server.process.kill()
        server.process.wait()
    cells.append(Cell(Place("killed", arguments.kind, 1), 0, reopened(where, found)))
    cells.append(Cell(Place("stopped", arguments.kind, 1), 0, reopened(where, found)))
    return _finish(cells, server, about, arguments)


def _starts(where: Path, found: Made) -> int:
    """Write rows again and kill the server meanwhile, start it, stop it, and start it once more;
    print it."""
    if not (where / "data").is_dir():
        raise SystemExit(f"nothing is loaded in {where}: leave --starts out")
    numbers = np.random.default_rng(0).integers(0, U_MAX, len(found.base))
    server = started(where)
    time.sleep(SETTLED_SECS)
    killed_loading(server, found, numbers)
    for what in ("killed", "stopped"):
        figures = reopened(where, found)
        print(f"{what}: {', '.join(f'{name} {value:,.4g}' for name, value in figures.items())}")
    return 0


def _finish(
    cells: list[Cell], server: Server, about: Mapping[str, Any], arguments: argparse.Namespace
) -> int:
    for cell in cells:
        shown = ", ".join(f"{name} {value:,.4g}" for name, value in cell.metrics.items())
        print(f"{cell.place.group}, {cell.place.target}: {shown}")
    found = {cell.place.group: cell.metrics for cell in cells}
    goals = [
        Goal("newest rows not found at once while loading", found["load"]["not_found"], most=0.0),
        Goal("CPU ms until ready after kill -9", found["killed"]["ready_cpu_ms"], most=2000.0),
        Goal("CPU ms until ready after a stop", found["stopped"]["ready_cpu_ms"], most=2000.0),
        *(
            Goal(f"recall@10, {share:.1%} pass", found[f"filter {share:.1%}"]["recall"], 0.97)
            for share in SHARES
        ),
    ]
    show(goals)
    outcome = Outcome(cells, goals, servers=[server], more={"rows": arguments.rows})
    judged.save(outcome, about, arguments.name or "scale", f"server {arguments.kind}")
    return 0


def started(where: Path) -> Server:
    """Our server, with its data below ``where``, when it answers that it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "kissvdb", "serve", "--port", str(port)]
    command += ["--data-dir", str(where / "data"), "--logs", "warning"]
    output = (where / "output.txt").open("ab")
    process = subprocess.Popen(
        command,
        cwd=where,
        env=environment(where),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    output.close()
    server = Server("kissvdb", "", " ".join(command[4:]), port, where, process)
    until(server, b"GET /v1/ready HTTP/1.1\r\nHost: localhost\r\n\r\n", lambda answer: True)
    return server


def environment(where: Path) -> dict[str, str]:
    """What is set for the server: it keeps its bytecode, as one that is installed does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(where / "bytecode")}


def until(server: Server, request: bytes, is_good: Callable[[bytes], bool]) -> bytes:
    """Ask until an answer is good."""
    deadline = time.monotonic() + READY_SECS_MAX
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with Connection(server) as connection:
                answer = connection.ask(request)
                if is_good(answer):
                    return answer
        except (OSError, Refused):
            pass
        time.sleep(0.005)
    raise SystemExit(f"no good answer to {request[:60]!r}: see {server.directory}/output.txt")


def load(server: Server, found: Made, numbers: Any) -> dict[str, float]:
    """Write all rows, and wait until they are indexed; what it took, and what was seen beside."""
    # Otherwise the threads beside wait for the one that makes requests.
    sys.setswitchinterval(0.0005)
    beside = Beside(server, NAME, found)
    threads = [threading.Thread(target=each) for each in (beside.search, beside.watch)]
    for thread in threads:
        thread.start()
    slowest, refused, began = [], 0, time.monotonic()
    busy = cpu_s(server)
    with Connection(server) as connection:
        for last, request in batches(found, numbers):
            asked = time.monotonic()
            answer, again = asked_until_taken(connection, request)
            refused += again
            slowest.append(time.monotonic() - asked)
            if b'"error"' in answer:
                raise SystemExit(f"the server refused vectors: {answer[:500]!r}")
            beside.acknowledged = last
    written = time.monotonic() - began
    beside.loading = False
    while ours.look(server, NAME)["tail"] >= ours.TAIL_ROWS_MAX:
        if time.monotonic() - began > SETTLE_SECS_MAX:
            raise SystemExit("the rows are still not indexed")
        time.sleep(0.5)
    indexed = time.monotonic() - began
    beside.stopping = True
    for thread in threads:
        thread.join()
    total = len(found.base)
    return {
        "rows_per_s": total / written,
        "indexed_per_s": total / indexed,
        "cpu_us": (cpu_s(server) - busy) * 1e6 / total,
        "batch_p50_ms": statistics.median(slowest) * 1e3,
        "batch_max_ms": max(slowest) * 1e3,
        "refused": float(refused),
        **beside.figures(),
    }


def batches(found: Made, numbers: Any) -> Iterator[tuple[int, bytes]]:
    """Requests that write all rows, and for each up to which row it is."""
    for start in range(0, len(found.base), LOAD_ROWS):
        rows = unit(found.base[start : start + LOAD_ROWS].astype(np.float32))
        ids = [str(start + place) for place in range(len(rows))]
        metas = [{"u": int(u)} for u in numbers[start : start + LOAD_ROWS]]
        for place, request in enumerate(ours.raw_batches(NAME, ids, rows, metas)):
            yield min(start + len(rows), start + (place + 1) * ours.BATCH), request


def asked_until_taken(connection: Connection, request: bytes) -> tuple[bytes, int]:
    """The answer, and how often it was that the server has no room now: try again in a second."""
    refused = 0
    while True:
        try:
            return connection.ask(request), refused
        except Refused as refusal:
            if not str(refusal).startswith("503 "):
                raise
            refused += 1
            time.sleep(1.0)


def killed_loading(server: Server, found: Made, numbers: Any) -> None:
    """Write rows again, as they are, and end the server meanwhile as a crash would: nothing is told
    before."""
    end = threading.Timer(KILLED_AFTER_SECS, os.kill, (server.process.pid, signal.SIGKILL))
    end.start()
    with suppress(OSError, HTTPException), Connection(server) as connection:
        for _, request in batches(found, numbers):
            connection.ask(request)
    end.join()
    server.process.wait()


def searched(server: Server, found: Made, numbers: Any, kind: str) -> list[Cell]:
    """Searches of all rows, without a filter and with filters of every share."""
    cells = []
    everyone = {1.0: U_MAX} | SHARES
    for share, below in everyone.items():
        passing = None if share == 1.0 else numbers < below
        truth = found.truth[:FILTERED]
        if passing is not None:
            truth = nearest(found.base, found.queries[:FILTERED], K, passing)
        wishes = {} if passing is None else {"filters": {"u": {"$lt": below}}}
        cells.append(
            Cell(
                Place("unfiltered" if share == 1.0 else f"filter {share:.1%}", kind, 1),
                0,
                _asked(server, found.queries[:FILTERED], truth, wishes),
            )
        )
    return cells


def _asked(server: Server, queries: Any, truth: Any, wishes: Mapping[str, Any]) -> dict[str, float]:
    taken, good = [], 0
    busy = cpu_s(server)
    with Connection(server) as connection:
        for query, best in zip(queries, truth, strict=True):
            request = ours.json_search(NAME, query, **wishes)
            began = time.monotonic()
            ids = ours.hits(connection.ask(request))
            taken.append((time.monotonic() - began) * 1e3)
            good += len(set(map(int, ids)).intersection(best.tolist()))
    p50, p95 = np.percentile(taken, (50, 95))
    return {
        "recall": good / truth.size,
        "search_p50_ms": float(p50),
        "search_p95_ms": float(p95),
        "search_cpu_us": (cpu_s(server) - busy) * 1e6 / len(queries),
    }


def reopened(where: Path, found: Made) -> dict[str, float]:
    """From the start of the process until it is ready, and until the first search; then recall and
    memory."""
    began = time.monotonic()
    server = started(where)
    try:
        ready, busy = time.monotonic() - began, cpu_s(server)
        search = ours.raw_search(NAME, found.queries[0])
        first = until(server, search, lambda answer: True)
        answered = time.monotonic() - began
        until(
            server,
            ours.raw_search(NAME, found.queries[0], explain="true"),
            lambda answer: b'"exact scan"' not in answer,
        )
        compiled = time.monotonic() - began
        again = _asked(server, found.queries[:FILTERED], found.truth[:FILTERED], {})
        return {
            "ready_ms": ready * 1e3,
            "ready_cpu_ms": busy * 1e3,
            "answered_ms": answered * 1e3,
            "compiled_ms": compiled * 1e3,
            "first_hits": float(len(ours.hits(first))),
            "recall": again["recall"],
            **{f"open_{name}": value for name, value in resident(server).items()},
            "disk_each": sum(
                file.stat().st_blocks * 512
                for file in (where / "data" / "vectors" / NAME).iterdir()
            )
            / len(found.base),
        }
    finally:
        server.process.terminate()
        server.process.wait()


def cpu_s(server: Server) -> float:
    """The CPU seconds a server has taken until now."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
