"""A model in a process of its own, as a source of vectors.

A crash, memory or long computing of a model is that process's business: the event loop only waits
for a pipe. It starts with the first batch and again when it died, and ends with this one, however
this one ends, because its input ends then (see `child`).
"""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import msgpack
import numpy as np
import trio

from kissvdb import config
from kissvdb.embedders.embedder import Kind
from kissvdb.embedders.frames import FRAME_BYTES_MAX, LENGTH_BYTES, frame
from kissvdb.embedders.models import LOCAL
from kissvdb.errors import EmbedderUnavailable
from kissvdb.kernels.arrays import Array

logger = logging.getLogger("kissvdb.embedders")

PIECE_BYTES = 65_536
END_SECS = 5
RESTARTS = 1
"""Of a process that dies under a batch: a batch that kills it twice is not tried again."""


class _Died(Exception):
    """The process ended, or does not answer as it should."""


@attrs.frozen(eq=False)
class Command:
    """What is run: the arguments of `child`."""

    kind: str
    model: str
    threads: int

    def line(self) -> list[str]:
        """The command line of the process."""
        module = "kissvdb.embedders.child"
        return [sys.executable, "-P", "-m", module, self.kind, self.model, str(self.threads)]


class ProcessSource:
    """Source over one process. It has one batch at a time; others wait for it."""

    def __init__(self, model: str, dim: int, command: Command, require: Callable[[], None]) -> None:
        """``require`` raises EmbedderUnavailable when the process could not do anything."""
        self.model = model
        self.dim = dim
        self.require = require
        self._command = command
        self._process: trio.Process | None = None
        self._turn = trio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return None if self._process is None else self._process.pid

    async def vectors(self, texts: Sequence[str], kind: Kind) -> Array:
        """See Source."""
        batch = frame(msgpack.packb({"kind": kind, "texts": list(texts)}))
        async with self._turn:
            for _ in range(RESTARTS + 1):
                try:
                    return await self._exchange(batch)
                except _Died as death:
                    reason = str(death)
                    logger.warning("the process of the embedder %s %s", self.model, reason)
                except trio.Cancelled:
                    # An answer that nobody reads would be taken for the next one's.
                    await self.aclose()
                    raise
        raise EmbedderUnavailable(f"the process of the embedder {self.model} {reason}")

    async def _exchange(self, batch: bytes) -> Array:
        process = self._process
        if process is None or process.poll() is not None:
            process = await self._start()
        answer = await self._answer_to(process, batch)
        if "error" in answer:
            raise EmbedderUnavailable(f"the embedder {self.model}: {answer['error']}")
        vectors: Array = np.frombuffer(answer["vectors"], np.float32).reshape(answer["shape"])
        return vectors

    async def _start(self) -> trio.Process:
        await self.aclose()
        # In a session of its own, so that Ctrl-C in a terminal is the server's to answer.
        process = await trio.lowlevel.open_process(
            self._command.line(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        logger.info("the embedder %s runs in process %d", self.model, process.pid)
        answer = await self._answer_to(process, b"")
        if "error" in answer:
            await self.aclose()
            raise EmbedderUnavailable(f"the embedder {self.model}: {answer['error']}")
        return process

    async def _answer_to(self, process: trio.Process, batch: bytes) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if batch:
                await process.stdin.send_all(batch)
            head = await self._receive(process, LENGTH_BYTES)
            length = int.from_bytes(head, "little")
            if length > FRAME_BYTES_MAX:
                raise _Died("answers nonsense")
            answer: dict[str, Any] = msgpack.unpackb(await self._receive(process, length))
            return answer
        except (_Died, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            with trio.move_on_after(END_SECS):
                await process.wait()
            status = process.returncode
            await self.aclose()
            raise _Died(f"died (exit status {status})") from error

    async def _receive(self, process: trio.Process, size: int) -> bytes:
        assert process.stdout is not None
        received = bytearray()
        while len(received) < size:
            piece = await process.stdout.receive_some(min(size - len(received), PIECE_BYTES))
            if not piece:
                raise _Died("ended")
            received += piece
        return bytes(received)

    async def aclose(self) -> None:
        """End the process; the next batch starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with trio.move_on_after(END_SECS, shield=True):
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()
                await process.wait()


def local_source(settings: config.Embedder) -> ProcessSource:
    """A model of a wheel: ``settings.model`` is its name in `models.LOCAL`."""
    model = LOCAL[settings.model]
    command = Command("local", settings.model, settings.model_threads)
    return ProcessSource(model.identity, model.dim, command, model.require)


def directory_source(settings: config.Embedder) -> ProcessSource:
    """A directory of sentence-transformers, which must be installed."""
    path = Path(settings.path)

    def require() -> None:
        if not path.is_dir():
            raise EmbedderUnavailable(f"the embedder's directory {path} does not exist")
        if find_spec("sentence_transformers") is None:
            raise EmbedderUnavailable(
                "kind sentence-transformers needs that package: "
                "pip install 'kissvdb[sentence-transformers]', and start again"
            )

    model = f"sentence-transformers/{path.name}/{settings.dimensions}"
    command = Command("sentence-transformers", str(path), settings.model_threads)
    return ProcessSource(model, settings.dimensions, command, require)
