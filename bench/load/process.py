"""Processes under load: start, readiness, CPU and memory, stop."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PEERS_BIN = ROOT / ".venv-bench" / "bin"
START_SECS_MAX = 20.0
STOP_SECS_MAX = 15.0
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "devtmpfs"}


class NotInstalled(Exception):
    """The program of a peer is missing."""


class StartFailed(Exception):
    """A server did not come up; the message holds the end of what it printed."""


@attrs.frozen
class Server:
    """A running server: ``port`` is open on 127.0.0.1."""

    name: str
    version: str
    settings: str
    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    def pids(self) -> list[int]:
        """The process and its descendants (nginx works in children)."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += [int(child) for child in children.read_text().split()]
        return found

    def resident_bytes(self) -> int:
        """Resident memory of the process and its descendants."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.pids())
        return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")


def check_disk(directory: Path) -> str:
    """The file system type of a directory. Raises ValueError if it lives in memory, where a sync
    costs nothing and a bench of durable writes means nothing."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, this_kind, *_ = line.split()
        inside = directory.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, kind = mount, this_kind
    if kind in MEMORY_FILE_SYSTEMS:
        raise ValueError(f"{directory} is on {kind}, in memory: give --dir on a disk")
    return kind


@contextmanager
def running(
    name: str,
    version: str,
    settings: str,
    port: int,
    directory: Path,
    command: list[str],
    **environment: str,
) -> Iterator[Server]:
    """The process of a server until the block ends, then stopped: politely, then not."""
    with (directory / "output.txt").open("wb") as output:
        # In its own directory, so that a .env or a configuration of the user is not read.
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Server(name, version, settings, port, directory, process)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(server: Server, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECS_MAX
    while not is_ready():
        ended = server.process.poll() is not None
        if ended or time.monotonic() > deadline:
            said = (server.directory / "output.txt").read_text(errors="replace")[-2000:]
            raise StartFailed(f"{server.name} {'ended' if ended else 'is not ready'}: {said}")
        time.sleep(0.05)


def http_ok(port: int, target: str) -> bool:
    """Whether GET answers 2xx."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=2) as answer:
            return bool(200 <= answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def call(port: int, method: str, target: str, body: bytes | None = None) -> bytes:
    """The body of the answer to one HTTP request. Raises urllib.error.HTTPError unless 2xx."""
    url = f"http://127.0.0.1:{port}{target}"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: bytes = answer.read()
        return found


def answers(port: int, hello: bytes, expected: bytes) -> bool:
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(hello)
            while expected not in received:
                more = connection.recv(4096)
                if not more:
                    return False
                received += more
    except OSError:
        return False
    return True


def find(program: str, hint: str) -> str:
    ours = PEERS_BIN / program
    found = str(ours) if ours.exists() else shutil.which(program)
    if found is None:
        raise NotInstalled(f"{program} is not installed: {hint}")
    return found


def version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    found = re.search(r"v?(\d+\.\d+(\.\d+)*)", done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def free_port() -> int:
    """A port that nobody has now. Somebody may take it before the server does: then the server
    ends at once, and the bench says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
