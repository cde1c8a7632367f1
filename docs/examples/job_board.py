"""A live job board: this program runs jobs and serves the page that shows them.

``python job_board.py`` and open http://127.0.0.1:8000/job_board.html?server=http://127.0.0.1:9917
The page reads the keys ``job:...`` once, and from there on the live stream; nothing polls.
"""

import functools
import os
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kissvdb.client import Client

NAMES = ("import", "embed", "report", "backup")


def work(client: Client, name: str, steps: int, pause_secs: float) -> None:
    """A job that takes its time. How far it is, is a key; one that dies stops being shown."""
    with client.progress(f"job:{name}", of=steps, ttl_ms=3_600_000) as job:
        for step in range(steps):
            time.sleep(pause_secs)
            job.advance(note=f"step {step + 1}")


def pages(port: int) -> ThreadingHTTPServer:
    """Serves this directory on loopback: the database lets pages of there in."""
    folder = str(Path(__file__).parent)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main(steps: int = 20, pause_secs: float = 0.5, port: int = 8000) -> None:
    server = pages(port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    database = os.environ.get("KISSVDB_URL", "http://127.0.0.1:9917")
    address = f"http://127.0.0.1:{server.server_port}/job_board.html?server={database}"
    print(f"open {address}", flush=True)
    with Client() as client:
        jobs = [
            threading.Thread(target=work, args=(client, name, steps + 5 * place, pause_secs))
            for place, name in enumerate(NAMES)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
    print("all jobs are done; Ctrl-C ends the page", flush=True)
    if sys.stdin.isatty():
        threading.Event().wait()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:3]))  # type: ignore[arg-type]
