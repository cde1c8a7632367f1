"""How long a newcomer waits: from ``git clone`` to a page with live data, then the second start.

Clones this repository into an empty directory and runs its ``scripts/run`` as it is, so packages
are downloaded unless pip has them. "page" is when ``/`` is answered, "data" when the sample is
found by a search.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import urllib.error
import urllib.request

from tests.crash.process import free_port

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS_MAX = 600
STOP_SECONDS_MAX = 30
QUERY = {"text": "music player", "k": 1}


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rounds", type=int, default=1, help="clones")
    arguments = command.parse_args()
    lines = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory(prefix="kissvdb-newcomer-") as directory:
            clone = Path(directory) / "kissvdb"
            began = time.perf_counter()
            subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            lines.append(("from the clone", *started(clone, began)))
            lines.append(("second start", *started(clone, time.perf_counter())))
    load = os.getloadavg()[0]
    for name, page, data in lines:
        print(f"{name:>15}: page {page:6.1f} s, data {data:6.1f} s   (load {load:.1f})")
    return 0


def started(clone: Path, began: float) -> tuple[float, float]:
    """Seconds since ``began`` until the page is answered, and until the sample is found."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if "KISS" not in name}
    process = subprocess.Popen(
        [clone / "scripts" / "run", "--port", url.rpartition(":")[2]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        page = waited(process, began, lambda: answered(f"{url}/"))
        return page, waited(process, began, lambda: found(url))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_SECONDS_MAX)


def waited(process: subprocess.Popen[bytes], began: float, is_there) -> float:
    while time.perf_counter() - began < WAIT_SECONDS_MAX:
        if process.poll() is not None:
            raise SystemExit(f"scripts/run ended with {process.returncode}")
        try:
            if is_there():
                return time.perf_counter() - began
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"nothing after {WAIT_SECONDS_MAX} s")


def answered(address: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


def found(url: str) -> bool:
    answer = answered(f"{url}/v1/vector/debian/search", json.dumps(QUERY).encode())
    return bool(json.loads(answer)["hits"])


if __name__ == "__main__":
    sys.exit(main())
