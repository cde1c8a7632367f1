"""Getting the compiled kernels: from the cache, or by another process that fills it first.

Numba keeps compiled code beside its source. Where that cannot be written, ``NUMBA_CACHE_DIR`` must
name another place before numba is imported. A mark in the cache, named after all that the code
depends on, says that everything is in there.
"""

import fcntl
import hashlib
import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from actors import Workers
from kissvdb import kernels as package
from kissvdb import logs
from kissvdb.errors import OUT_OF_RESOURCES
from kissvdb.kernels.parent import end_with_parent as end_with_parent

if TYPE_CHECKING:
    from kissvdb.core.index.kernels import Kernels

logger = logging.getLogger("kissvdb.kernels")

START_PAUSE_SECONDS = 0.1
"""What clients ask first goes before the loading of compiled code, which holds the interpreter."""

RETRY_SECONDS = 5.0
"""Until the next try, when too many files were open."""

CACHE_VARIABLE = "NUMBA_CACHE_DIR"
_PACKAGE = Path(package.__file__).parent
_CPU_LINES = ("model name", "flags", "Features", "CPU part")


@attrs.frozen
class Warmed:
    """What a warm-up did, in how many seconds, and where the compiled code is."""

    loaded: int
    compiled: int
    seconds: float
    directory: Path


def claim_cache(data_dir: Path | None) -> Path:
    """Where compiled code is kept; made if need be, and told to numba.

    Beside the kernels' source, else in the user's cache directory, else in the data directory.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    beside, *others = cache_places(data_dir)
    if _is_writable(beside):
        return beside
    for place in others:
        if _is_writable(place):
            os.environ[CACHE_VARIABLE] = str(place)
            return place
    return beside


def cache_places(data_dir: Path | None) -> list[Path]:
    """Where compiled code may be kept if nobody says otherwise, the first that can be written."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [_PACKAGE / "__pycache__", Path(home) / "kissvdb" / "kernels"]
    if data_dir is not None:
        places.append(data_dir.absolute() / "cache" / "kernels")
    return places


def is_warm(directory: Path) -> bool:
    """Whether all kernels lie compiled in the cache, for this processor and this code."""
    return (directory / _mark()).exists()


def warm(directory: Path) -> Warmed:
    """Compile or load all kernels into this process, and mark the cache as complete."""
    from kissvdb.kernels.warmup import compile_all

    done = compile_all()
    for old in directory.glob("complete-*"):
        if old.name != _mark():
            old.unlink(missing_ok=True)
    (directory / _mark()).touch()
    return Warmed(done.loaded, done.compiled, done.seconds, directory)


def warm_alone(directory: Path) -> Warmed:
    """`warm`, while no other process does: who waits for one finds the code compiled."""
    with (directory / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_warm(directory):
            from kissvdb.kernels.warmup import fill_cache

            fill_cache()
        return warm(directory)


async def load(kernels: "Kernels", data_dir: Path | None, workers: Workers) -> None:
    """Have the kernels loaded, while searches go on without them; if it fails, they stay so.

    A cold cache is filled by another process: compiling would hold up this one for a minute.
    """
    while True:
        try:
            return await _load_once(kernels, data_dir, workers)
        except OSError as error:
            # No search is to wait for it.
            kernels.is_loading = False
            # To read code, or to start a process, needs descriptors and memory, too.
            message = "the kernels could not be loaded: searches stay exact"
            logs.event(logger, logging.ERROR, message, reason=str(error))
            if error.errno not in OUT_OF_RESOURCES:
                return None
            await trio.sleep(RETRY_SECONDS)


async def _load_once(kernels: "Kernels", data_dir: Path | None, workers: Workers) -> None:
    directory = await workers.run(claim_cache, data_dir)
    if not await workers.run(is_warm, directory):
        logs.event(
            logger,
            logging.INFO,
            "compiling the kernels, once for this machine; searches are exact until then",
            cache=str(directory),
        )
        done = await _compile_elsewhere()
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            message = "the kernels could not be compiled: searches stay exact"
            logs.event(logger, logging.ERROR, message, reason=" ".join(reason))
            return
    kernels.is_loading = True
    await trio.sleep(START_PAUSE_SECONDS)
    await workers.run(_load, kernels, directory)


async def _compile_elsewhere() -> "subprocess.CompletedProcess[bytes]":
    # Nothing is ever written: its end says that this process has ended.
    ours, alive = os.pipe()
    try:
        command = [sys.executable, "-m", "kissvdb", "warmup", "--child"]
        return await trio.run_process(command, check=False, stdin=ours, capture_stderr=True)
    finally:
        os.close(ours)
        os.close(alive)


def _load(kernels: "Kernels", directory: Path) -> None:
    done = warm(directory)
    kernels.load()
    logs.event(
        logger,
        logging.INFO,
        "kernels are loaded",
        loaded=done.loaded,
        compiled=done.compiled,
        seconds=round(done.seconds, 2),
    )


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _mark() -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("numba", "llvmlite", "numpy")]
    form = os.environ.get("KISSVDB_CPU", "native")
    digest.update(repr([sys.version, *versions, form, _processor()]).encode())
    return f"complete-{digest.hexdigest()[:32]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(_CPU_LINES)}))
