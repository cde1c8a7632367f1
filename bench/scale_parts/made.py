"""A large set of vectors made from a smaller real one, with queries and their exact answers.

A vector is a Dirichlet(1.5, 1, 1) mix of a real row and two of its 64 nearest neighbours (a quarter
of these partners is any row instead), plus a quarter of the difference of two rows, of length one,
rounded to float16. So it has the families of the real set, and as many directions. Queries are
mixed in the same way of the real queries, which no row is made of. All follows from the seed; the
first rows are the same whatever their number.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

K = 10
QUERIES = 1000
NEIGHBOURS = 64
BLOCK = 10_000
TRUTH_BLOCK = 50_000
WEIGHTS = (1.5, 1.0, 1.0)
STRANGERS = 0.25
OFFSET = 0.25
SEED = 14


@attrs.frozen(eq=False)
class Made:
    """``base`` [n, dim] float16, mapped; ``queries`` [q, dim] float32 of length one; ``truth``
    [q, K], the nearest rows by cosine, best first. ``directory`` is where they lie."""

    directory: Path
    base: Any
    queries: Any
    truth: Any


def made(source: Path, work: Path, rows: int) -> Made:
    """The set of so many rows in ``work``, made there unless it is there already."""
    directory = work / f"rows{rows}"
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "truth.npy").exists():
        _make(source, directory, rows)
    return load(directory)


def load(directory: Path) -> Made:
    """A set that was made."""
    return Made(
        directory,
        np.load(directory / "base.npy", mmap_mode="r"),
        np.load(directory / "queries.npy"),
        np.load(directory / "truth.npy"),
    )


def blocks(base: Any, size: int = BLOCK) -> Iterator[Any]:
    """The rows as float32 of length one, some at a time."""
    for start in range(0, len(base), size):
        yield unit(base[start : start + size].astype(np.float32))


def everything(base: Any) -> Any:
    """All rows as one array of float32, of length one: four bytes a number."""
    whole = np.empty(base.shape, np.float32)
    for start, block in zip(range(0, len(base), BLOCK), blocks(base), strict=True):
        whole[start : start + BLOCK] = block
    return whole


def unit(vectors: Any) -> Any:
    """The vectors with length one."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest(base: Any, queries: Any, count: int, allowed: Any = None) -> Any:
    """The ``count`` best rows of each query by cosine, exactly, best first; ties by lower row.

    ``allowed``: bool [n], which rows may be; all if None.
    """
    best = np.full((len(queries), 0), 0, np.int64)
    scores = np.full((len(queries), 0), 0, np.float32)
    start = 0
    for block in blocks(base, TRUTH_BLOCK):
        new = queries @ block.T
        if allowed is not None:
            new[:, ~allowed[start : start + len(block)]] = -np.inf
        kept = min(count + 6, len(block))
        places = np.argpartition(-new, kept - 1, axis=1)[:, :kept]
        best = np.concatenate((best, places + start), axis=1)
        scores = np.concatenate((scores, np.take_along_axis(new, places, 1)), axis=1)
        order = np.lexsort((best, -scores), axis=1)[:, : count + 6]
        best = np.take_along_axis(best, order, 1)
        scores = np.take_along_axis(scores, order, 1)
        start += len(block)
    return np.where(np.isfinite(scores), best, -1)[:, :count]


def _make(source: Path, directory: Path, rows: int) -> None:
    began = time.process_time()
    real = unit(np.load(source / "base.npy").astype(np.float32))
    asked = unit(np.load(source / "queries.npy").astype(np.float32))
    print(f"the neighbours of {len(real):,} rows", flush=True)
    near = neighbours(real, real)
    _write_base(directory, real, near, rows)
    mixed = np.random.default_rng([SEED, 1])
    queries = _mix(mixed, asked, neighbours(asked, asked), QUERIES)
    queries = unit(queries.astype(np.float16).astype(np.float32))
    np.save(directory / "queries.npy", queries)
    print("the exact answers", flush=True)
    base = np.load(directory / "base.npy", mmap_mode="r")
    np.save(directory / "truth.npy", nearest(base, queries, K))
    print(f"made {rows:,} rows in {time.process_time() - began:.0f} s of CPU time", flush=True)


def neighbours(rows: Any, among: Any) -> Any:
    """For each row its NEIGHBOURS nearest others, int32."""
    found = np.empty((len(rows), NEIGHBOURS), np.int32)
    for start in range(0, len(rows), 2048):
        scores = rows[start : start + 2048] @ among.T
        each = np.arange(len(scores))
        scores[each, start + each] = -np.inf
        places = np.argpartition(-scores, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        found[start : start + 2048] = places
    return found


def _write_base(directory: Path, real: Any, near: Any, rows: int) -> None:
    path = directory / "base.npy"
    written = np.lib.format.open_memmap(path, "w+", np.float16, (rows, real.shape[1]))
    for start in range(0, rows, BLOCK):
        # A generator for each block: the rows do not depend on how many come after them.
        random = np.random.default_rng([SEED, 0, start])
        written[start : start + BLOCK] = _mix(random, real, near, BLOCK)[: rows - start]
    written.flush()


def _mix(random: np.random.Generator, real: Any, near: Any, count: int) -> Any:
    """``count`` mixed vectors, float32 of length one."""
    first = random.integers(0, len(real), count)
    picked = near[first[:, None], random.integers(0, NEIGHBOURS, (count, 2))]
    strange = random.random((count, 2)) < STRANGERS
    picked = np.where(strange, random.integers(0, len(real), (count, 2)), picked)
    weights = random.dirichlet(WEIGHTS, count).astype(np.float32)
    one, other = random.integers(0, len(real), (2, count))
    mixed = weights[:, :1] * real[first] + OFFSET * (real[one] - real[other])
    for place in range(2):
        mixed += weights[:, place + 1 : place + 2] * real[picked[:, place]]
    return unit(mixed)
