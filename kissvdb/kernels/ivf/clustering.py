"""Centroids by k-means over a sample, and which of them each row is nearest to; numpy and BLAS.

cosine: spherical k-means (Dhillon and Modha, Machine Learning 42, 2001): centroids are unit
vectors, and a row is of the one it has the greatest inner product with. dot: the same over the
directions of rows; how long the rows of a list are is told by its ``reach``. l2: Lloyd's k-means.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import DOT, L2, aligned_zeros

Array = NDArray[Any]

SAMPLED_ROWS_A_LIST = 32
ROUNDS = 5
CHUNK_NUMBERS = 1 << 22
"""Products held at a time: 16 MiB."""


def train(rows: Array, metric: int, lists: int, seed: int = 0) -> Array:
    """Centroids of rows [n, width], n > 0, prepared for the metric: float32 [lists, width].

    A sample is read as often as there are rounds, a part at a time, and never copied as a whole.
    """
    chance = np.random.default_rng(seed)
    count = min(rows.shape[0], lists * SAMPLED_ROWS_A_LIST)
    sample = np.sort(chance.choice(rows.shape[0], count, replace=False))
    first = chance.choice(sample, lists, replace=lists > count)
    centroids = aligned_zeros((lists, rows.shape[1]), np.float32)
    centroids[:] = _directed(rows[np.sort(first)], metric)
    for _ in range(ROUNDS):
        sums = np.zeros((lists, rows.shape[1]))
        counts = np.zeros(lists, np.int64)
        for part in _parts(sample, lists):
            chunk = _directed(rows[part], metric)
            labels = nearest(chunk, metric, centroids)
            order = np.argsort(labels, kind="stable")
            found, starts = np.unique(labels[order], return_index=True)
            sums[found] += np.add.reduceat(chunk[order], starts, axis=0)
            counts += np.bincount(labels, minlength=lists)
        _moved(centroids, sums, counts, metric, chance)
    return centroids


def assign(rows: Array, metric: int, centroids: Array) -> Array:
    """The list of each row, int32 [n]. rows: [n, width], prepared for the metric."""
    labels = np.empty(rows.shape[0], np.int32)
    for part in _parts(np.arange(rows.shape[0]), centroids.shape[0]):
        here = slice(int(part[0]), int(part[-1]) + 1)
        labels[here] = nearest(rows[here], metric, centroids)
    return labels


def nearest(rows: Array, metric: int, centroids: Array) -> Array:
    """The nearest centroid of each row of a part, int64 [n]: the greatest product, or for l2 the
    least distance; the length of a row changes nothing."""
    products = rows @ centroids.T
    if metric == L2:
        products -= 0.5 * np.einsum("ij,ij->i", centroids, centroids)
    found: Array = products.argmax(axis=1)
    return found


def imbalance(counts: Array) -> float:
    """How much longer the list of a row is than the mean list, on average: 1 if all are alike."""
    total = float(counts.sum()) or 1.0
    return float(np.square(counts.astype(np.float64)).sum()) * len(counts) / (total * total)


def _parts(places: Array, lists: int) -> list[Array]:
    step = max(CHUNK_NUMBERS // lists, 64)
    return np.split(places, range(step, len(places), step)) if len(places) else []


def _directed(rows: Array, metric: int) -> Array:
    if metric != DOT:
        return rows
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    directed: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return directed


def _moved(centroids: Array, sums: Array, counts: Array, metric: int, chance: Any) -> None:
    """Move each centroid to the middle of its rows; one without rows goes beside that of a large
    list, whose rows the two then share."""
    held = counts > 0
    if metric == L2:
        middle = sums[held] / counts[held, None]
    else:
        length = np.sqrt(np.einsum("ij,ij->i", sums[held], sums[held]))[:, None]
        middle = np.divide(sums[held], length, out=centroids[held].astype(float), where=length > 0)
    centroids[held] = middle
    empty = np.flatnonzero(~held)
    if len(empty):
        crowded = np.argsort(-counts, kind="stable")[: len(empty)]
        beside = centroids[crowded[np.arange(len(empty)) % len(crowded)]]
        spread = np.abs(beside).mean(axis=1, keepdims=True)
        noise = chance.standard_normal(beside.shape).astype(np.float32)
        centroids[empty] = np.where(beside != 0, beside + 0.05 * spread * noise, 0)
