"""The data of the vector bench: real vectors, their metadata, queries and the true answers."""

import gzip
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np

K = 10
# What is no metadata of its own: the id, and the text that the vector was made of.
NOT_KEPT = ("id", "description")


@attrs.frozen(eq=False)
class Data:
    """``base`` [n, dim] and ``queries`` [q, dim], float32; ``truth`` [q, K], the nearest rows by
    cosine, best first; of each row its id and its metadata."""

    base: Any
    queries: Any
    truth: Any
    ids: list[str]
    metas: list[dict[str, Any]]


def load(directory: Path, queries: int, rows: int | None = None) -> Data:
    """Read base.npy, queries.npy, gt.npy and meta.jsonl.gz; of the rows maybe only the first."""
    base = np.load(directory / "base.npy")[:rows].astype(np.float32)
    asked = np.load(directory / "queries.npy")[:queries].astype(np.float32)
    with gzip.open(directory / "meta.jsonl.gz") as file:
        lines = file.read().splitlines()[: len(base)]
    documents = [msgspec.json.decode(line) for line in lines]
    stored = np.load(directory / "gt.npy")[:queries, :K]
    truth = stored if rows is None else nearest(base, asked)
    metas = [{k: v for k, v in each.items() if k not in NOT_KEPT} for each in documents]
    return Data(base, asked, truth, [each["id"] for each in documents], metas)


def unit(vectors: Any) -> Any:
    """The vectors with length one, float32: then cosine is the inner product."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest(base: Any, queries: Any, allowed: Any = None) -> Any:
    """The K nearest rows by cosine of each query, exactly, best first; -1 where there are fewer.

    ``allowed``: numbers of the rows to look among, all if None.
    """
    rows = np.arange(len(base)) if allowed is None else allowed
    scores = unit(queries) @ unit(base[rows]).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    found = np.full((len(queries), K), -1, np.int64)
    found[:, : best.shape[1]] = rows[best]
    return found


def recall(found: Any, truth: Any) -> float:
    """The part of the true answers that was found; -1 in ``truth`` is none."""
    wanted = good = 0
    for mine, best in zip(found, truth, strict=True):
        real = {each for each in best if each != -1}
        wanted += len(real)
        good += len(real.intersection(mine))
    return good / wanted if wanted else 1.0
