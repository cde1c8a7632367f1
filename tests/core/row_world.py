"""A collection beside a model of it that is obviously right: a dict, and numpy over all of it."""

import itertools
from collections.abc import Mapping

import attrs
import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Upsert, VectorBatch, VectorDecision
from kissvdb.core.search import Search
from kissvdb.core.store.id_map import SALT_BYTES
from kissvdb.records import VectorDeleted, VectorWritten

SALT = bytes(range(SALT_BYTES))
PLAIN = Kernels()
"""Kernels that are never loaded: everything is numpy."""

KINDS_UNDER_TEST = ("hnsw", "vamana", "ivf")
"""The kinds of index that miss few rows: what tests of recall are run with."""


def mostly_first(*lists):
    """The parameters of a test of all combinations of values. By default it is run with those that
    differ from the first values in one place at most; with the others among the long tests."""
    made = []
    for values in itertools.product(*lists):
        others = sum(value != of[0] for value, of in zip(values, lists, strict=True))
        made.append(pytest.param(*values, marks=[pytest.mark.slow] if others > 1 else []))
    return made


def compiled():
    """Kernels that are loaded; compiled if the cache lacks them."""
    kernels = Kernels()
    kernels.load()
    return kernels


@attrs.define(eq=False)
class World:
    """One collection, its log, and the model: what the log says is there."""

    spec: CollectionSpec
    kernels: Kernels = PLAIN
    rows: Rows = None
    log: list = attrs.Factory(list)
    model: dict = attrs.Factory(dict)
    now_ms: int = 1_000_000

    def __attrs_post_init__(self):
        if self.rows is None:
            self.rows = Rows(self.spec, SALT, self.kernels)

    def run(self, *commands):
        """Decide, log, apply; answers or refusals in order."""
        batch = VectorBatch(self.spec, self.rows, self.now_ms)
        outcomes = batch.decide_each(commands)
        first = self.commit(batch)
        return [each.at(first) if isinstance(each, VectorDecision) else each for each in outcomes]

    def expire(self, limit=1000):
        """Log the end of what is past its time."""
        batch = VectorBatch(self.spec, self.rows, self.now_ms)
        batch.expire(self.rows.expired(self.now_ms, limit))
        self.commit(batch)

    def commit(self, batch):
        self.rows.reserve(batch.rows, batch.blob_bytes, batch.text_bytes, batch.vectors)
        first = self.log[-1][0] + 1 if self.log else 1
        records = list(enumerate(batch.records, start=first))
        self.log += records
        self.rows.apply_all(records)
        for _, record in records:
            if isinstance(record, VectorWritten):
                self.model[record.id] = record
            else:
                assert isinstance(record, VectorDeleted)
                del self.model[record.id]
        return first

    def upsert(self, vectors: Mapping, meta=None):
        """Upsert vectors by id; ``meta`` by id."""
        meta = meta or {}
        return self.run(
            *(Upsert(id_, raw(vector), meta.get(id_)) for id_, vector in vectors.items())
        )

    def upkeep(self, steps=10_000):
        """Do what is due; answers the kinds of work done."""
        kinds = []
        while len(kinds) < steps and (work := self.rows.work_due()) is not None:
            work.run()
            self.rows.install(work)
            kinds.append(work.kind)
        return kinds

    def view(self):
        return self.rows.view(self.now_ms)

    def live(self, tree=None):
        """Ids and vectors [n, dim] of what a reader is to see, by id."""
        ids = sorted(
            record.id
            for record in self.model.values()
            if (record.expires_at_ms is None or record.expires_at_ms > self.now_ms)
            and filters.matches(tree, document(record))
        )
        vectors = [np.frombuffer(self.model[id_].vector, "<f4") for id_ in ids]
        return ids, np.array(vectors, np.float32).reshape(len(ids), self.spec.dim)

    def best(self, query, k, tree=None):
        """(ids, scores) of the ``k`` best, ties by id."""
        ids, vectors = self.live(tree)
        scores = reference_scores(vectors, query, self.spec.metric)
        order = sorted(range(len(ids)), key=lambda n: (-scores[n], ids[n]))[:k]
        return [ids[n] for n in order], [float(scores[n]) for n in order]

    def check(self, query, k, tree=None):
        """Exact search, counts, pages and lookups agree with the model."""
        view = self.view()
        found = view.search(np.array([query], np.float32), Search(k, tree=tree, exact=True)).hits[0]
        ids, scores = self.best(query, k, tree)
        assert list(found.ids) == ids
        np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-6)
        everything, _ = self.live(tree)
        assert view.count(tree) == len(everything)
        assert sorted(view.ids_matching(tree)) == everything
        for id_ in (*everything[:3], "never there"):
            assert_stored(view.get(id_), self.model.get(id_))


def raw(vector):
    """A vector as it is sent."""
    return np.asarray(vector, "<f4").tobytes()


def document(record):
    from kissvdb.core.store.space import decoded

    return decoded(record.meta)


def assert_stored(stored, record):
    if record is None:
        assert stored is None
    else:
        assert stored is not None
        assert (stored.vector, stored.meta) == (record.vector, record.meta)
        assert stored.text == record.text
        assert stored.expires_at_ms == record.expires_at_ms


def reference_scores(vectors, query, metric):
    """float32 scores as the documentation defines them, in plain numpy."""
    wide, wanted = vectors.astype(np.float64), np.asarray(query, np.float32).astype(np.float64)
    if metric == "l2":
        return 0 - np.sqrt(np.square(wide - wanted).sum(axis=1).astype(np.float32))
    if metric == "cosine":
        wide, wanted = unit(wide), unit(wanted[None])[0]
    return (wide @ wanted).astype(np.float32)


def unit(wide):
    length = np.sqrt(np.square(wide).sum(axis=1))[:, None]
    ready = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    return ready.astype(np.float32).astype(np.float64)


def clusters(seed, count, dim, groups=40):
    """Vectors [count, dim] as real data has them: near one another in groups."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((groups, dim))
    noise = 0.4 * chance.standard_normal((count, dim))
    return (centres[chance.integers(groups, size=count)] + noise).astype(np.float32)
