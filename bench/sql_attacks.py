"""How late is a plain GET while statements that are meant to hurt run without a break?

GETs come at a fixed rate, whatever the server makes of them (an open loop), from a process of their
own; lateness counts from when each was due. Attackers send the statements of
tests/engine/test_sql_attacks.py over and over. No part of it asserts a time.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from pathlib import Path

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import http.client

from bench.load import servers
from bench.load.process import call
from bench.load.report import print_table
from tests.engine.test_sql_attacks import BOUNDED, REFUSED, SCHEMA, params_of

RATE = 200
SETTINGS = ("sql.query_timeout_ms=500", "limits.body_bytes_max=8000000")


def gets(port: int, seconds: float, answers: "multiprocessing.Queue[list[float]]") -> None:
    """GETs of one key at RATE a second: how many ms after it was due each was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    late: list[float] = []
    begin = time.perf_counter()
    for number in range(int(seconds * RATE)):
        due = begin + number / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("GET", "/v1/state/k1")
        assert connection.getresponse().read()
        late.append(1000 * (time.perf_counter() - due))
    answers.put(late)


def attack(port: int, bodies: list[bytes], first: int, over: threading.Event) -> int:
    """Send statements, one after another; answers how many."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = 0
    while not over.is_set():
        body = bodies[(first + sent) % len(bodies)]
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/sql/query", body, headers)
        connection.getresponse().read()
        sent += 1
    return sent


def measured(port: int, seconds: float) -> list[float]:
    answers: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    process = multiprocessing.Process(target=gets, args=(port, seconds, answers))
    process.start()
    found = answers.get()
    process.join()
    return found


def attackers(port: int, count: int, over: threading.Event) -> list[threading.Thread]:
    statements = {**BOUNDED, **REFUSED}
    bodies = [
        json.dumps({"sql": sql, "params": params_of(sql)}).encode() for sql in statements.values()
    ]
    step = len(bodies) // count
    return [
        threading.Thread(target=attack, args=(port, bodies, step * number, over))
        for number in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--attackers", type=int, default=8)
    asked = parser.parse_args()
    rows = []
    with (
        tempfile.TemporaryDirectory() as name,
        servers.kissvdb(Path(name), *SETTINGS) as server,
    ):
        for sql in SCHEMA:
            call(server.port, "POST", "/v1/sql/exec", json.dumps({"sql": sql}).encode())
        call(server.port, "PUT", "/v1/state/k1", b'{"value":1}')
        rows.append(("none", *row(measured(server.port, asked.seconds))))
        over = threading.Event()
        threads = attackers(server.port, asked.attackers, over)
        for thread in threads:
            thread.start()
        rows.append((str(asked.attackers), *row(measured(server.port, asked.seconds))))
        resident = server.resident_bytes() >> 20
        over.set()
        for thread in threads:
            thread.join()
    print_table(rows, ("attackers", "GETs", "p50 ms", "p99 ms", "max ms"))
    print(f"resident memory of the server at the end: {resident} MiB")


def row(late: list[float]) -> tuple[int, float, float, float]:
    ordered = sorted(late)
    return len(late), *(round(each, 2) for each in _places(ordered))


def _places(ordered: list[float]) -> tuple[float, float, float]:
    count = len(ordered)
    return ordered[count // 2], ordered[int(count * 0.99)], ordered[-1]


if __name__ == "__main__":
    main()
