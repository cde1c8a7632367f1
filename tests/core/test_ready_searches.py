"""Searches that are ready for their vector find what others find, and write the same bytes."""

import json

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.numbers import ready
from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Delete
from kissvdb.core.rows.view import SearchTooNarrow
from kissvdb.core.search import Search
from tests.core.row_world import World, clusters, compiled

DIM = 24


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def write(here, vectors, first=0):
    meta = {f"v{n}": b'{"n":%d}' % n for n in range(first, first + len(vectors))}
    here.upsert({f"v{first + n}": each for n, each in enumerate(vectors)}, meta)


def outcome(search, *arguments, **named):
    try:
        return search(*arguments, **named)
    except SearchTooNarrow:
        return "too narrow"


def check(here, queries, search, *, meta=True):
    """Both forms of a ready search answer as ``search_as_text``; how many of them were answered."""
    view, memories, answered = here.view(), {}, 0
    made = view.ready_for(search, memories, meta=meta)
    for query in queries:
        expected = outcome(view.search_as_text, query[None], search, meta=meta)
        text = json.dumps({"vector": [float(str(each)) for each in query], "k": 1}).encode()
        start = text.index(b"[") + 1
        assert outcome(made.of_json, text, start, text.index(b"]") + 1) == expected
        assert outcome(made.of_numbers, query.tobytes()) == expected
        assert made.vector == query.tobytes()
        answered += isinstance(expected, tuple) and expected[1] > 0
    return answered


FILTERS = (None, {"n": {"$lt": 500}}, {"n": {"$gte": 590}}, {"n": {"$lt": 40}}, {"n": -1})


@pytest.mark.parametrize(
    ("metric", "index", "quantization"),
    [
        ("cosine", "hnsw", "q4"),
        ("l2", "hnsw", "q8"),
        ("dot", "flat", "auto"),
        ("l2", "ivf", "auto"),
    ],
)
def test_a_ready_search_answers_as_any_other(kernels, metric, index, quantization):
    spec = CollectionSpec(
        "c", DIM, metric, quantization=quantization, ef_construction=64, index=index
    )
    here, asked = World(spec, kernels), clusters(9, 6, DIM).astype(np.float32)
    # Nothing, a tail alone, an index alone, both, and both with gaps.
    check(here, asked, Search(5))
    vectors = clusters(1, 700, DIM).astype(np.float32)
    write(here, vectors[:60])
    assert check(here, asked, Search(5)) == len(asked)
    write(here, vectors[60:600], 60)
    here.upkeep()
    for each in (Search(5), Search(64, ef=200), Search(3, tree=filters.parse(FILTERS[1]))):
        assert check(here, asked, each) == len(asked)
    write(here, vectors[600:], 600)
    assert check(here, asked, Search(7), meta=False) == len(asked)
    here.run(*(Delete(f"v{n}") for n in range(0, 640, 9)))
    for given in FILTERS:
        for search in (Search(10), Search(10, ef=16)):
            check(here, asked, attrs_of(search, given))


def attrs_of(search, given):
    return Search(search.k, ef=search.ef, tree=filters.parse(given))


def test_what_ties_or_is_odd_is_left_to_others(kernels):
    here = World(CollectionSpec("c", DIM, "cosine", index="flat"), kernels)
    one = np.eye(DIM, dtype=np.float32)
    here.upsert({"a": one[0], "b": one[0], 'c"': one[1], "d": one[2]})
    assert check(here, one[:4], Search(1)) == 1
    view = here.view()
    for search in (Search(2, explain=True), Search(2, min_score=0.5), Search(65), Search(2, 1)):
        assert view.ready_for(search, {}, meta=True) is None


def test_numbers_that_are_none_are_left_to_others(kernels):
    here = World(CollectionSpec("c", 2, "dot", index="flat"), kernels)
    here.upsert({"a": [1, 2]})
    made = here.view().ready_for(Search(1), {}, meta=True)
    good = b"[0.5,1]"
    assert made.of_json(good, 1, len(good)) is not None
    for bad in (b"[0.5]", b"[0.5,1,2]", b"[0.5,1 2]", b"[0.5,nan]", b"[0.5,1e39]", b"[,]", b"[]"):
        assert made.of_json(bad, 1, len(bad)) is None
    assert made.of_json(good, 1, len(good) - 1) is None
    assert made.of_numbers(b"\0" * 4) is None
    for odd in (np.nan, np.inf, 1e38):
        assert made.of_numbers(np.array([1, odd], "<f4").tobytes()) is None


def test_a_memory_serves_larger_graphs_and_longer_answers(kernels, monkeypatch):
    monkeypatch.setattr(ready, "_HITS_BYTES", 64)
    here = World(CollectionSpec("c", DIM, "cosine", ef_construction=64), kernels)
    memories, asked = {}, clusters(3, 3, DIM).astype(np.float32)
    for first in range(0, 2000, 500):
        write(here, clusters(first, 500, DIM).astype(np.float32), first)
        here.upkeep()
        view = here.view()
        made = view.ready_for(Search(10), memories, meta=True)
        for query in asked:
            expected = view.search_as_text(query[None], Search(10), meta=True)
            assert made.of_numbers(query.tobytes()) == expected
    assert len(memories) == 1
