"""Choose the load program: C, compiled now, or the slower Python one that does the same."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def program(name: str, directory: Path, *, python: bool = False) -> list[str]:
    """The start of the command line of load program ``name``.

    Args:
        name: ``closed_loop`` or ``stream_reader``.
        directory: where the compiled program is kept.
        python: take the Python program even if there is a C compiler.

    The C programs cost a few microseconds a request. The Python ones cost several times that,
    so that on two cores they, and not the server, may be what limits the figures.
    """
    compiler = None if python else shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return [sys.executable, "-m", f"bench.load.{name}"]
    binary = directory / name
    if not binary.exists():
        source = HERE / f"{name}.c"
        subprocess.run([compiler, "-O2", "-o", str(binary), str(source)], check=True)
    return [str(binary)]


def is_python(command: Sequence[str]) -> bool:
    """Whether `program` chose the Python program."""
    return command[0] == sys.executable
