"""Rows of many numbers as points of a plane: the two directions in which they differ most (PCA).

By subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4), which never makes a matrix
of dim x dim: rows of 4,096 numbers cost as much as there are of them.
"""

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DIRECTIONS = 10
"""Looked for; more than the two that are kept, so that these are found in few rounds."""
_ROUNDS = 12


@attrs.frozen(eq=False)
class Projection:
    """``rows``: int64 [n], which rows of a view these are, ascending. ``points``: float32 [n, 2].
    ``explained``: the part of the variance that each axis has, 0 to 1. ``passing``: how many rows
    the n were drawn from."""

    rows: Array
    points: Array
    explained: tuple[float, float]
    passing: int


def project(vectors: Array) -> tuple[Array, tuple[float, float]]:
    """The points of rows, and what part of their variance each axis has.

    vectors: float [n, dim], finite. The points: float32 [n, 2]; all zero where all rows are the
    same. The same rows have the same points: an axis points to where its largest number lies.
    """
    count, dim = vectors.shape
    points = np.zeros((count, 2), np.float32)
    if not count or not dim:
        return points, (0.0, 0.0)
    centred = vectors.astype(np.float32)
    # Numbers may be so large that their squares are none.
    scale = float(np.abs(centred).max()) or 1.0
    centred /= scale
    centred -= centred.mean(axis=0, dtype=np.float64).astype(np.float32)
    total = float(np.einsum("ij,ij->", centred, centred, dtype=np.float64))
    if total <= 1e-12 * count:
        return points, (0.0, 0.0)
    width = min(_DIRECTIONS, count, dim)
    # On the shorter side, where keeping directions apart costs least.
    tall = centred if dim <= count else centred.T
    basis = np.random.default_rng(0).standard_normal((min(dim, count), width)).astype(np.float32)
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(tall.T @ (tall @ basis))[0]
    if dim > count:
        basis = np.linalg.qr(centred.T @ basis)[0]
    _, strengths, inner = np.linalg.svd(centred @ basis, full_matrices=False)
    axes = inner @ basis.T
    axes = axes[:2]
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    points[:, : len(axes)] = (centred @ axes.T) * scale
    parts = [min(1.0, float(each) ** 2 / total) for each in strengths[:2]] + [0.0, 0.0]
    return points, (parts[0], parts[1])


def sample(passing: Array, most: int) -> Array:
    """At most ``most`` of the row numbers, in order, each as likely; of the same the same."""
    if len(passing) <= most:
        return passing
    return np.sort(np.random.default_rng(0).choice(passing, most, replace=False))
