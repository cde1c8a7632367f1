"""A real server process that a test may kill, and what it says over HTTP."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx

from tests.patience import PATIENCE_SECS

PORTS = range(20_000, 32_000)
"""Below those that a kernel gives away: nobody gets a server's port between two starts."""


def free_port():
    """For a server that is killed and started again on the same port."""
    while True:
        with socket.socket() as probe:
            port = random.choice(PORTS)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class ServerProcess:
    """``kissvdb serve`` on one port and one directory, started and killed at will."""

    def __init__(self, directory, *arguments, port=None, environment=None):
        self.directory = directory
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = directory.parent / f"{directory.name}.log"
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self._process = None

    def start(self, prepare=None):
        """``prepare`` runs in the new process before the server does."""
        command = [sys.executable, "-m", "kissvdb", "serve", "--port", str(self.port)]
        command += ["--data-dir", str(self.directory), *self._arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=prepare, env=self._environment
            )
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log_path.read_text()
            try:
                if httpx.get(f"{self.url}/v1/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"not ready in time:\n{self.log_path.read_text()}")

    @property
    def pid(self):
        return self._process.pid

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self, seconds_max=PATIENCE_SECS):
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=seconds_max)

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def server_process(directory, *arguments):
    """A started server; killed when the block ends, if it still runs."""
    server = ServerProcess(directory, *arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()
