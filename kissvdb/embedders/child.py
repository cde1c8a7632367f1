"""The process that runs a model: ``python -m kissvdb.embedders.child KIND MODEL THREADS``.

Reads batches from its standard input and writes vectors to its standard output. It ends when its
input does, also in the middle of a batch: whoever started it is gone then, killed or not.
"""

import os
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

import msgpack
import numpy as np

from kissvdb.embedders.frames import read_frame, write_frame
from kissvdb.embedders.models import LOCAL, Run, load_directory
from kissvdb.errors import KissError

NICENESS = 5
"""The server's own threads come first."""


def main(kind: str, model: str, threads: int) -> None:
    """Serve until the input ends."""
    batches: SimpleQueue[bytes] = SimpleQueue()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not get among the answers.
    os.dup2(2, 1)
    threading.Thread(target=_read, args=(requests, batches), daemon=True).start()
    os.nice(NICENESS)
    try:
        run = LOCAL[model].load(threads) if kind == "local" else load_directory(model, threads)
    except Exception as error:
        write_frame(answers, msgpack.packb({"error": _words(error)}))
        return
    write_frame(answers, msgpack.packb({"ready": True}))
    while True:
        _answer(answers, run, batches.get())


def _answer(answers: BinaryIO, run: Run, batch: bytes) -> None:
    request = msgpack.unpackb(batch)
    try:
        vectors = np.ascontiguousarray(run(request["texts"], request["kind"]), np.float32)
        answer = {"shape": list(vectors.shape), "vectors": vectors.tobytes()}
    except Exception as error:
        answer = {"error": _words(error)}
    write_frame(answers, msgpack.packb(answer))


def _words(error: Exception) -> str:
    return error.message if isinstance(error, KissError) else f"{type(error).__name__}: {error}"


def _read(requests: BinaryIO, batches: SimpleQueue[bytes]) -> None:
    while (batch := read_frame(requests)) is not None:
        batches.put(batch)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
