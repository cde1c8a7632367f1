"""Many keys: how fast a server with a million of them is ready again, and what it holds.

    scripts/bench keys --keys 1000000

Loads the keys through the embedded database, kills the process that did it (kill -9), starts
`kissvdb serve` on the directory and measures: time to ready, resident memory, GET and prefix list.
"""

import sys

# As a script this folder comes first, and `http` would be the bench of that name.
sys.path.pop(0)

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

VALUE = json.dumps({"text": "x" * 88})
BATCH = 1000


def load(directory, keys):
    """Write the keys in a process of its own, which then kills itself."""
    import trio

    from kissvdb.config import Config, Storage
    from kissvdb.core.state.rules import Put
    from kissvdb.engine.opening import open_database

    async def main():
        async with open_database(Config(storage=Storage(data_dir=directory))) as db:
            started = time.perf_counter()
            for first in range(0, keys, BATCH):
                batch = range(first, min(first + BATCH, keys))
                await db.write_many([Put(f"key:{n:09}", VALUE.encode()) for n in batch])
            seconds = time.perf_counter() - started
            print(
                f"loaded {keys} keys of {len(VALUE)} bytes: {keys / seconds:,.0f} keys/s",
                flush=True,
            )
            os.kill(os.getpid(), signal.SIGKILL)

    trio.run(main)


def measure(directory, port, keys):
    started = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "kissvdb", "serve", "--data-dir", directory, "--port", str(port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        connection = wait_until_ready(port)
        ready_seconds = time.perf_counter() - started
        gets = timed(connection, [f"/v1/state/key:{n * 7919 % keys:09}" for n in range(2000)])
        lists = timed(connection, [f"/v1/state?prefix=key:{n:05}&limit=100" for n in range(200)])
        with open(f"/proc/{server.pid}/statm") as statm:
            resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    finally:
        server.terminate()
        server.wait()
    return {
        "keys": keys,
        "ready_ms": round(1000 * ready_seconds),
        "resident_mb": round(resident / 1e6),
        "get_p50_us": round(1e6 * statistics.median(gets)),
        "list_100_p50_us": round(1e6 * statistics.median(lists)),
    }


def wait_until_ready(port):
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/v1/ready")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return connection
        except ConnectionError:
            time.sleep(0.005)


def timed(connection, paths):
    seconds = []
    for path in paths:
        started = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
        seconds.append(time.perf_counter() - started)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--port", type=int, default=19417)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    parser.add_argument("--load", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load, options.keys)
    with tempfile.TemporaryDirectory(dir=".") as directory:
        command = [sys.executable, __file__, "--load", directory, "--keys", str(options.keys)]
        subprocess.run(command, check=False)
        figures = [measure(directory, options.port, options.keys) for _ in range(options.restarts)]
    for each in figures:
        print(json.dumps(each))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
