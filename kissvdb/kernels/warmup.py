"""Compiling every kernel before it is needed, or loading it from numba's cache.

Numba compiles a kernel for the types it is called with, so this calls the public functions on a few
rows of every type. ``NUMBA_CACHE_DIR``, set before numba is imported, says where compiled code is
kept. Python -m kissvdb.kernels.warmup does the same from a shell, or in a subprocess; with the name
of a part behind it, only that part, for as long as its standard input is open.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import scan
from kissvdb.kernels.arrays import COSINE, Codes, new_scratch
from kissvdb.kernels.codes import quantize
from kissvdb.kernels.codes.prepare import prepare
from kissvdb.kernels.disk import warming as disk_warming
from kissvdb.kernels.documents import warming as documents_warming
from kissvdb.kernels.graph import filtered, insert, search
from kissvdb.kernels.ivf import warming as lists_warming
from kissvdb.kernels.jit import KERNELS
from kissvdb.kernels.json import warming as json_warming
from kissvdb.kernels.parent import end_with_parent
from kissvdb.kernels.text import warming

Array = NDArray[Any]

ROWS = 40
DIM = 16


class Warmup(NamedTuple):
    """What a warm-up did: kernels loaded from the cache, kernels compiled, and seconds taken."""

    loaded: int
    compiled: int
    seconds: float


def compile_all() -> Warmup:
    """Compile or load all kernels; after it none compiles again in this process.

    A call with other types (a read-only array, float64 vectors, a row-less stride) is then a
    TypeError instead of seconds of silent compilation. Safe to call twice, from one thread.
    """
    done = _compile(_PARTS)
    for kernel in KERNELS:
        kernel.disable_compile()
    return done


def fill_cache() -> None:
    """Compile what the cache lacks, each part in a process of its own where there are two
    processors. What another process could not compile is left to ``compile_all``."""
    here, *elsewhere = _PARTS if (os.cpu_count() or 1) > 1 else ("graphs",)
    # The package may be called like a folder where this process was started: not from there (-P).
    command = [sys.executable, "-P", "-m", "kissvdb.kernels.warmup"]
    others = [
        subprocess.Popen([*command, part], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for part in elsewhere
    ]
    try:
        _compile((here,))
        for other in others:
            other.wait()
    finally:
        for other in others:
            with other:
                other.kill()


def _compile(parts: Iterable[str]) -> Warmup:
    began = time.perf_counter()
    before = _counts()
    for kernel in KERNELS:
        kernel.disable_compile(False)
    rows = prepare(np.random.default_rng(0).standard_normal((ROWS, DIM)), COSINE)
    for part in parts:
        _PARTS[part](rows)
    loaded, compiled = np.subtract(_counts(), before).tolist()
    return Warmup(loaded, compiled, time.perf_counter() - began)


def _counts() -> tuple[int, int]:
    hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in KERNELS)
    return hits, sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS)


def _every_code(rows: Array) -> list[Codes]:
    floats = quantize.float32_codes(rows, COSINE)
    quantize.encode_float32(rows, 0, ROWS, COSINE, floats)
    bytes_ = quantize.int8_codes(ROWS, quantize.train_int8(rows, COSINE, DIM))
    quantize.encode_int8(rows, 0, ROWS, COSINE, bytes_)
    nibbles = quantize.int4_codes(ROWS, quantize.train_int4(rows, COSINE, DIM))
    quantize.encode_int4(rows, 0, ROWS, COSINE, nibbles)
    return [floats, bytes_, nibbles]


def _graphs(rows: Array) -> None:
    allow = np.full((ROWS + 63) // 64, 0x5555555555555555, dtype=np.uint64)
    scratch = new_scratch(ROWS, 64, 8, DIM)
    queries = rows[:1].copy()
    for codes in _every_code(rows):
        built = codes
        if codes.rows.dtype == np.uint8:
            built = quantize.float32_codes(rows, COSINE)
        graph = insert.insert(insert.new_graph(4), built, COSINE, ROWS, 16, [scratch])
        search.search(graph, codes, rows, COSINE, queries, 2, 8, 8, scratch)
        filtered.search_filtered(graph, codes, rows, COSINE, queries, 2, 8, 8, scratch, allow)
        if codes.rows.dtype != np.float32:
            disk_warming.run(graph, codes, rows, DIM)


def _scans(rows: Array) -> None:
    scratch = new_scratch(ROWS, 64, 8, DIM)
    queries = rows[:1].copy()
    scan.scan_rows(rows, ROWS, COSINE, queries, 2)
    for codes in _every_code(rows):
        scan.scan_codes(codes, rows, ROWS, COSINE, queries, 2, 8, scratch)
        lists_warming.run(codes, rows)
    warming.run()
    json_warming.run()
    documents_warming.run()


_PARTS: Final = {"graphs": _graphs, "scans": _scans}
"""No kernel of size is in both: of one that two processes compile at once, one form may be lost."""


if __name__ == "__main__":
    if sys.argv[1:]:
        end_with_parent()
    print("loaded {} kernels, compiled {}, in {:.2f} s".format(*_compile(sys.argv[1:] or _PARTS)))
