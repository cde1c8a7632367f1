"""Indexes on small data, built through the kernels' public functions."""

from typing import Any, NamedTuple

import numpy as np

from kissvdb.kernels import plain
from kissvdb.kernels.arrays import Codes, Graph, Scratch, new_scratch
from kissvdb.kernels.codes import quantize
from kissvdb.kernels.graph import insert

POOL_MAX = 2000
M = 16
EF_CONSTRUCTION = 100


class Index(NamedTuple):
    """A graph over prepared rows, and every form of code to walk it by."""

    rows: Any
    metric: int
    graph: Graph
    float32: Codes
    int8: Codes
    int4: Codes
    scratch: Scratch

    def codes(self, name):
        return {"float32": self.float32, "int8": self.int8, "int4": self.int4}[name]


def every_code(rows, metric, dim):
    count = rows.shape[0]
    floats = quantize.float32_codes(rows, metric)
    quantize.encode_float32(rows, 0, count, metric, floats)
    bytes_ = quantize.int8_codes(count, quantize.train_int8(rows, metric, dim))
    quantize.encode_int8(rows, 0, count, metric, bytes_)
    nibbles = quantize.int4_codes(count, quantize.train_int4(rows, metric, dim))
    quantize.encode_int4(rows, 0, count, metric, nibbles)
    return floats, bytes_, nibbles


def build(vectors, metric, linked_by="int8", threads=1):
    count, dim = vectors.shape
    rows = plain.prepare(vectors, metric)
    floats, bytes_, nibbles = every_code(rows, metric, dim)
    scratches = [new_scratch(count, POOL_MAX, 2 * M, dim) for _ in range(threads)]
    codes = bytes_ if linked_by == "int8" else floats
    graph = insert.insert(insert.new_graph(M), codes, metric, count, EF_CONSTRUCTION, scratches)
    return Index(rows, metric, graph, floats, bytes_, nibbles, scratches[0])


def clustered(count, dim, seed=1):
    """Vectors as embeddings are: around centres of different weight, with a common part."""
    random = np.random.default_rng([seed, count, dim])
    centres = random.standard_normal((max(count // 40, 1), dim))
    chosen = (len(centres) * random.random(count) ** 2).astype(int)
    vectors = centres[chosen] + 0.8 * random.standard_normal((count, dim)) + 0.3
    return vectors.astype(np.float32)


def bitmap(allowed):
    words = np.zeros(-(-len(allowed) // 64), dtype=np.uint64)
    packed = np.packbits(allowed, bitorder="little")
    words.view(np.uint8)[: packed.size] = packed
    return words


def recall(found, exact):
    """The share of the exact ids that were found."""
    pairs = [(set(f), set(e) - {-1}) for f, e in zip(found, exact, strict=True)]
    return sum(len(f & e) for f, e in pairs) / max(sum(len(e) for _, e in pairs), 1)
