"""The process of a contender, seen from the bench."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.load.process import ROOT

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
STDERR_CHARS = 300


class Failed(Exception):
    """A contender could not be built, opened or asked; the message says why."""


class Process:
    """One contender in a process of its own. A context manager; ``answer`` is its first."""

    def __init__(self, python: str, name: str, made: Path, index: Path, what: str) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        command = [python, "-m", "bench.scale_parts.worker", name, str(made), str(index), what]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self.name = name
        self.answer = self._read()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ask(self, what: str, effort: int = 0) -> dict[str, Any]:
        """What the contender answers. Raises Failed if its process ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([what, effort]) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(self._ended()) from error
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._ended())
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def _ended(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        said = [line for line in self._stderr.read().splitlines() if line.strip()]
        return f"its process ended with {code}: {(said or ['no word'])[-1][:STDERR_CHARS]}"
