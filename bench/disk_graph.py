"""A graph in pages on disk: how long a search takes that finds none of its pages in memory.

    python -m bench.disk_graph DIRECTORY BASE.npy QUERIES.npy [--rows N] [--lists 32,64,128]

Rows float16 or float32 [n, dim], compared by cosine. The graph is built once in DIRECTORY and
opened from there again. Before each cold search the page cache lets go of the page file
(posix_fadvise(2), DONTNEED); codes and rows stay, as they do on a machine that has room for those.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Upsert, VectorBatch
from kissvdb.core.store.id_map import SALT_BYTES
from kissvdb.storage.rows import files
from kissvdb.storage.rows.arrays import RowArrays

SALT = bytes(SALT_BYTES)
K = 10
PART = 4096


def build(directory, base, kernels):
    """Write and index all rows, and store them."""
    directory.mkdir(parents=True)
    spec = CollectionSpec("c", base.shape[1], "cosine", index="vamana")
    rows = Rows(spec, SALT, kernels, RowArrays(directory, 1))
    began = time.process_time()
    for first in range(0, len(base), PART):
        batch = VectorBatch(spec, rows, 0)
        part = base[first : first + PART].astype("<f4")
        batch.decide_each([Upsert(f"{first + n}", each.tobytes()) for n, each in enumerate(part)])
        rows.reserve(batch.rows, batch.blob_bytes, batch.text_bytes)
        rows.apply_all(list(enumerate(batch.records, first + 1)))
    written = time.process_time()
    while (work := rows.work_due()) is not None:
        work.run()
        rows.install(work)
    indexed = time.process_time()
    print(f"CPU: written in {written - began:.1f} s, indexed in {indexed - written:.1f} s")
    work = rows.checkpoint()
    work.run()
    files.save(directory, rows.space, work.manifest, work.indexes)


def opened(directory, kernels):
    """The rows of a directory."""
    found = files.open_directory(directory)
    began = time.perf_counter()
    rows, warnings = Rows.opened(
        found.manifest, found.indexes, found.damaged, found.arrays, SALT, kernels
    )
    assert not warnings, warnings
    print(f"opened in {time.perf_counter() - began:.2f} s; {anonymous_mib():.0f} MiB anonymous")
    return rows


def anonymous_mib():
    """Memory of this process that is not of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def best(base, queries):
    """The K best rows of each query by cosine, [queries, K]."""
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for first in range(0, len(base), 65_536):
        part = base[first : first + 65_536].astype(np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        scores = np.hstack([scores, unit @ part.T])
        rows = np.hstack(
            [rows, np.broadcast_to(np.arange(first, first + len(part)), (len(queries), len(part)))]
        )
        top = np.argpartition(-scores, K, axis=1)[:, :K] if scores.shape[1] > K else slice(None)
        scores, rows = np.take_along_axis(scores, top, 1), np.take_along_axis(rows, top, 1)
    return rows


def measure(index, data, queries, wanted, ef, rounds):
    """Print recall, pages, and times of searches that keep ``ef`` rows in view."""
    cold, found, pages = [], [], []
    file = index.pages.file[0]
    for query in queries:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        began = time.perf_counter()
        plan = index.plan(K, ef, None)
        rows, _ = index.walk(data, query[None], K, ef, plan.depth)
        cold.append(time.perf_counter() - began)
        found.append(len(set(rows[0].tolist()) & set(wanted[len(found)].tolist())) / K)
    pages = index.pages_read(data, queries, K, ef)
    warm = []
    for _ in range(rounds):
        began = time.process_time()
        for query in queries:
            index.walk(data, query[None], K, ef, K)
        warm.append((time.process_time() - began) / len(queries))
    p50, p95 = np.percentile(cold, [50, 95]) * 1000
    print(
        f"list {ef:4}  recall {np.mean(found):.4f}  pages {pages.mean():6.1f}  "
        f"cold p50 {p50:.2f} ms  p95 {p95:.2f} ms  warm {1 / np.median(warm):,.0f} a CPU second"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--lists", default="32,64,128,256")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    kernels = Kernels(build_threads=os.cpu_count() or 1)
    kernels.load()
    base = np.load(asked.base, mmap_mode="r")[: asked.rows]
    queries = np.load(asked.queries)[: asked.count].astype(np.float32)
    if not asked.directory.exists():
        build(asked.directory, base, kernels)
    wanted = best(base, queries)
    rows = opened(asked.directory, kernels)
    view = rows.view(0)
    index, data = view.index, view.data
    prepared = kernels.prepared(queries, "cosine")
    for ef in map(int, asked.lists.split(",")):
        measure(index, data, prepared, wanted, ef, asked.rounds)
    print(f"{anonymous_mib():.0f} MiB anonymous, {index.pages.nbytes >> 20} MiB of pages")


if __name__ == "__main__":
    main()
