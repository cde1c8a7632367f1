"""A source whose vectors count letters: small, exact, and it remembers what it was asked."""

import numpy as np
import trio

from kissvdb.errors import EmbedderUnavailable

DIM = 26


class Letters:
    """`wait` holds batches back; `fail` refuses them."""

    model = "letters"
    dim = DIM

    def __init__(self):
        self.batches = []
        self.gate = None
        self.failure = None
        self.closed = 0
        self.answer = counted

    def require(self):
        if self.failure == "missing":
            raise EmbedderUnavailable("letters are not installed")

    async def vectors(self, texts, kind):
        self.batches.append((kind, list(texts)))
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise EmbedderUnavailable(self.failure)
        return self.answer(texts)

    async def aclose(self):
        self.closed += 1


def counted(texts):
    return np.array([[text.count(chr(97 + n)) for n in range(DIM)] for text in texts], np.float32)
