"""Rows with a graph: it grows beside reads and writes, and finds what exact search finds."""

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.owner import POLICY, CollectionSpec
from kissvdb.core.rows.rules import Delete
from kissvdb.core.rows.view import SearchTooNarrow
from kissvdb.core.search import Search
from kissvdb.kernels.arrays import METRICS
from tests.core.row_world import World, clusters, compiled, mostly_first

DIM = 24


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def grown(kernels, count, metric="cosine", quantization="auto", seed=1, **fields):
    """A world whose rows are all in the graph, as far as drains take them."""
    spec = CollectionSpec("c", DIM, metric, quantization=quantization, ef_construction=64, **fields)
    here = World(spec, kernels)
    write(here, clusters(seed, count, DIM))
    here.upkeep()
    return here


def write(here, vectors, first=0):
    meta = {f"v{n}": b'{"n":%d}' % n for n in range(first, first + len(vectors))}
    for start in range(0, len(vectors), 500):
        part = vectors[start : start + 500]
        here.upsert({f"v{first + start + n}": each for n, each in enumerate(part)}, meta)


def queries(count, seed=99):
    return clusters(seed, count, DIM)


def recall(here, k=10, tree=None, **search):
    asked = queries(40)
    found = here.view().search(asked, Search(k, tree=tree, **search)).hits
    best = [set(here.best(query, k, tree)[0]) for query in asked]
    good = sum(len(best[n].intersection(each.ids)) for n, each in enumerate(found))
    wanted = sum(map(len, best))
    return good / wanted if wanted else 1.0


@pytest.mark.parametrize(
    ("metric", "quantization"), mostly_first(list(METRICS), ["q4", "q8", "none"])
)
def test_the_graph_finds_what_exact_search_finds(kernels, metric, quantization):
    here = grown(kernels, 2500, metric, quantization)
    view = here.view()
    assert view.indexed_rows == 2500
    assert view.statistics().precision == quantization
    assert recall(here) >= 0.95
    here.check(queries(1)[0], 20)
    # Walked, where a scan of the codes is the plan for so few rows.
    asked = queries(40)
    for ef, least in ((64, 0.95), (256, 0.99)):
        prepared = kernels.prepared(asked, metric)
        rows, _ = view.index.walk(view.data, prepared, 10, ef, depth=max(40, ef // 8))
        best = view.search(asked, Search(10, exact=True)).hits
        good = [len(set(rows[n]) & set(each.rows)) for n, each in enumerate(best)]
        assert sum(good) >= least * 400


def test_few_rows_are_scanned_and_more_are_drained(kernels):
    here = World(CollectionSpec("c", DIM, "cosine"), kernels)
    write(here, clusters(2, POLICY.body_rows_min - 1, DIM))
    assert "drain" not in here.upkeep()
    write(here, clusters(3, 1, DIM), first=POLICY.body_rows_min)
    assert "drain" in here.upkeep()
    write(here, clusters(4, POLICY.drain_rows_min - 1, DIM), first=5000)
    here.upkeep()
    assert here.view().indexed_rows == POLICY.body_rows_min
    assert here.view().statistics().tail_rows == POLICY.drain_rows_min - 1


def test_a_flat_collection_never_gets_a_graph(kernels):
    here = grown(kernels, 2500, index="flat")
    assert here.view().indexed_rows == 0
    assert recall(here) == 1


def test_rows_are_found_the_moment_they_are_written_and_while_they_are_drained(kernels):
    here = grown(kernels, 1999)
    assert here.view().statistics().tail_rows == 0
    newest = clusters(7, 600, DIM)
    write(here, -newest[:1], first=1999)
    assert here.view().search(-newest[:1], Search(1)).hits[0].ids == ("v1999",)
    write(here, newest, first=2000)
    work = here.rows.work_due()
    while work.kind != "drain":
        work.run()
        here.rows.install(work)
        work = here.rows.work_due()
    for n in (0, 250, 599):
        assert here.view().search(newest[n : n + 1], Search(1)).hits[0].ids == (f"v{2000 + n}",)
    work.run()
    here.run(Delete("v2000"))
    here.upsert({"late": newest[1]})
    here.rows.install(work)
    assert here.view().indexed_rows == 2600
    found = here.view().search(newest[:2], Search(2)).hits
    assert "v2000" not in found[0].ids
    assert set(found[1].ids) == {"v2001", "late"}


def test_abandoned_work_is_due_again(kernels):
    here = grown(kernels, 1200)
    write(here, clusters(8, POLICY.drain_rows_min, DIM), first=1200)
    here.run(*(Delete(f"v{n}") for n in range(1100)))
    done = []
    while (work := here.rows.work_due()) is not None:
        assert here.rows.work_due() is None, "one at a time"
        if work.kind not in done:
            work.run()
            here.rows.abandon(work)
            work = here.rows.work_due()
        work.run()
        here.rows.install(work)
        done.append(work.kind)
    assert {"drain", "vacuum"} <= set(done)
    assert here.view().statistics().deleted_rows == 0
    assert recall(here) >= 0.95


def test_the_graph_is_the_same_for_one_thread_and_for_two():
    links = []
    for threads in (1, 2):
        kernels = Kernels(build_threads=threads)
        kernels.load()
        here = grown(kernels, 1500)
        links.append(here.view().index.body.graph.links[:1500].copy())
    np.testing.assert_array_equal(*links)


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 7},
        {"n": {"$lt": 20}},
        {"n": {"$lt": 900}},
        {"n": {"$gte": 40}},
        {"n": {"$lt": 0}},
        {"n": {"$gte": 3650}},
    ],
)
def test_filtered_search_finds_what_passes_whatever_the_selectivity(kernels, wanted, filtered):
    tree = filters.parse(wanted)
    assert recall(filtered, tree=tree) >= 0.97
    filtered.check(queries(1)[0], 15, tree)


@pytest.fixture(scope="module")
def filtered(kernels):
    here = grown(kernels, 3600)
    # Not enough to be drained.
    write(here, clusters(5, POLICY.drain_rows_min - 1, DIM), first=3600)
    return here


def test_the_plan_follows_selectivity(filtered):
    def plan(wanted, **search):
        tree = filters.parse(wanted)
        found = filtered.view().search(queries(1), Search(1, tree=tree, explain=True, **search))
        return found.explanation.plan

    # So few rows are walked only where a walk is short.
    assert plan(None, ef=1) == "graph"
    assert plan(None, ef=1000) == "code scan"
    assert plan(None, exact=True) == "exact scan"
    assert plan({"n": {"$lt": 20}}, ef=1) == "code scan"
    assert plan({"n": {"$gte": 40}}, ef=1) == "filtered graph"
    assert plan({"n": {"$gte": 3600}}) == "tail scan"


def test_walks_of_the_graph_find_what_passes(kernels, filtered):
    view, tree = filtered.view(), filters.parse({"n": {"$gte": 1500, "$lt": 3600}})
    asked = kernels.prepared(queries(40), "cosine")
    rows, _ = view.index.walk(view.data, asked, 10, 64, 40, view.bitmap(tree), allowed=2100)
    best = view.search(queries(40), Search(10, tree=tree, exact=True)).hits
    assert sum(len(set(rows[n]) & set(each.rows)) for n, each in enumerate(best)) >= 0.97 * 400


def test_searches_without_compiled_kernels_scan_what_has_a_graph(kernels):
    here = grown(kernels, 1500)
    view = here.view()
    cold = Kernels()
    assert not cold.ready
    slow = type(view)(
        view.spec, view.offset, view.data, view.ids, view.hidden, view.metadata, cold, view.index
    )
    fast = view.search(queries(5), Search(10, exact=True)).hits
    for mine, other in zip(slow.search(queries(5), Search(10)).hits, fast, strict=True):
        assert mine.ids == other.ids
        assert mine.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize(
    "metric", ["cosine", *(pytest.param(each, marks=pytest.mark.slow) for each in ("dot", "l2"))]
)
def test_after_half_is_updated_and_a_third_deleted_recall_is_as_before(kernels, metric):
    here = grown(kernels, 2400, metric)
    write(here, clusters(11, 1200, DIM))
    here.run(*(Delete(f"v{n}") for n in range(1300, 2100)))
    assert recall(here) >= 0.95
    kinds = here.upkeep()
    assert "vacuum" in kinds
    assert here.view().statistics().deleted_rows == 0
    assert here.view().indexed_rows >= 1600 - POLICY.drain_rows_min
    assert recall(here) >= 0.95
    here.check(queries(1)[0], 30)


def test_the_entry_point_and_then_everything_may_be_deleted(kernels):
    here = grown(kernels, 1500)
    entry = here.view().index.body.graph.entry
    here.run(Delete(f"v{entry}"))
    assert recall(here) >= 0.95
    here.run(*(Delete(id_) for id_ in list(here.model)))
    assert [len(each) for each in here.view().search(queries(3), Search(5)).hits] == [0, 0, 0]
    assert "vacuum" in here.upkeep()
    assert here.view().statistics().row_bytes == 0
    write(here, clusters(12, 1500, DIM))
    here.upkeep()
    assert recall(here) >= 0.95


def test_a_vacuum_takes_over_what_is_written_and_deleted_meanwhile(kernels):
    here = grown(kernels, 2000)
    here.run(*(Delete(f"v{n}") for n in range(0, 2000, 3)))
    work = here.rows.vacuum()
    steps = 0
    while work is not None:
        steps += 1
        fresh = clusters(100 + steps, 150, DIM)
        if steps < 8:
            here.upsert({f"new{steps}-{n}": each for n, each in enumerate(fresh)})
            here.run(*(Delete(f"v{n}") for n in range(steps, 2000, 50) if f"v{n}" in here.model))
            here.upsert({"v1": fresh[0]}, {"v1": b'{"n":%d}' % steps})
            here.run(Delete(f"new{steps}-7"))
        work.run()
        if steps < 8:
            here.upsert({f"between{steps}": fresh[1]})
        here.rows.install(work)
        here.check(queries(1)[0], 10)
        work = here.rows.work_due()
    assert here.rows.vacuum_progress is None
    here.check(queries(1)[0], 50)
    assert recall(here) >= 0.95
    assert here.view().statistics().deleted_rows < 300


def test_a_view_from_before_a_vacuum_answers_as_before(kernels):
    here = grown(kernels, 1500)
    here.run(*(Delete(f"v{n}") for n in range(0, 1500, 2)))
    view = here.view()
    before = view.search(queries(10), Search(10)).hits
    work = here.rows.vacuum()
    while work is not None:
        work.run()
        here.rows.install(work)
        work = here.rows.work_due()
    assert here.view().statistics().deleted_rows == 0
    after = view.search(queries(10), Search(10)).hits
    assert [each.ids for each in after] == [each.ids for each in before]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_codes_follow_rows_that_are_unlike_the_first_ones(kernels, metric):
    """What a collection is loaded with first must not decide what its codes can tell apart."""
    here = World(CollectionSpec("c", DIM, metric, ef_construction=64), kernels)
    write(here, clusters(1, POLICY.body_rows_min, DIM, groups=1) * np.float32(0.2) + np.float32(3))
    here.upkeep()
    rest = clusters(2, 4 * POLICY.body_rows_min, DIM)
    write(here, rest, first=POLICY.body_rows_min)
    here.upkeep()
    assert here.view().indexed_rows == 5 * POLICY.body_rows_min
    assert here.view().audit(rest[:100] + np.float32(0.01), Search(10)) >= 0.9


def test_an_audit_that_finds_too_little_has_finer_codes_used(kernels):
    here = grown(kernels, 1500)
    assert here.view().audit(queries(20), Search(10)) >= 0.95
    assert [here.rows.refine(), here.view().statistics().precision] == ["q8", "q8"]
    assert recall(here) >= 0.95
    write(here, clusters(9, POLICY.drain_rows_min, DIM), first=1500)
    here.upkeep()
    assert here.view().statistics().precision == "q8"
    assert [here.rows.refine(), here.rows.refine()] == ["none", None]
    write(here, clusters(10, POLICY.drain_rows_min, DIM), first=1500)
    here.upkeep()
    assert here.view().statistics().precision == "none"
    assert recall(here) >= 0.95
    here.run(*(Delete(f"v{n}") for n in range(1100)))
    assert "vacuum" in here.upkeep()
    assert here.view().statistics().precision == "none"


def test_codes_that_were_asked_for_are_kept(kernels):
    assert grown(kernels, 1100, quantization="q4").rows.refine() is None


def test_an_audit_counts_rows_that_score_as_well(kernels):
    here = World(CollectionSpec("c", 2, "dot"), kernels)
    here.upsert({f"v{n}": [1, 1] for n in range(1500)})
    here.upkeep()
    assert here.view().audit(np.ones((3, 2), np.float32), Search(10)) == 1


def test_many_equal_rows_do_not_hide_the_others(kernels):
    here = World(CollectionSpec("c", DIM, "cosine", ef_construction=64), kernels)
    same = clusters(1, 1, DIM)[0]
    here.upsert({f"same{n}": same for n in range(1200)})
    write(here, clusters(2, 1200, DIM))
    here.upkeep()
    assert recall(here) >= 0.95


def test_wanting_more_than_there_is_gives_all_there_is(kernels):
    here = grown(kernels, 1100)
    here.upsert({"tail": [0.0] * DIM})
    found = here.view().search(queries(2), Search(5000))
    assert [len(each) for each in found.hits] == [1101, 1101]


@pytest.mark.parametrize(("dim", "precision"), [(2, "none"), (3, "q8"), (11, "q8"), (12, "q4")])
def test_few_numbers_are_not_rounded_to_four_bits(kernels, dim, precision):
    here = World(CollectionSpec("c", dim, "cosine", ef_construction=64), kernels)
    vectors = np.random.default_rng(dim).standard_normal((1500, dim)).astype(np.float32)
    write(here, vectors)
    here.upkeep()
    view = here.view()
    assert (view.indexed_rows, view.statistics().precision) == (1500, precision)
    assert view.audit(vectors[:50] + 0.1, Search(10)) >= 0.95


def test_a_walk_that_finds_too_few_is_made_up_for(kernels, monkeypatch):
    """A walk that ends in a crowd of near rows, none of which pass, has found nothing."""
    here = grown(kernels, 1500)
    view = here.view()
    passing = filters.parse({"n": {"$lt": 1200}})
    walk = Kernels.search_graph
    monkeypatch.setattr(Kernels, "scan_is_cheaper", lambda *_: False)

    def lost(*arguments, **wishes):
        rows, scores = walk(*arguments, **wishes)
        rows[::2, 3:], scores[::2, 3:] = -1, -np.inf
        return rows, scores

    monkeypatch.setattr(Kernels, "search_graph", lost)
    for tree in (None, passing):
        found = view.search(queries(40), Search(10, tree=tree, explain=True))
        assert found.explanation.plan == ("graph" if tree is None else "filtered graph")
        assert {len(each) for each in found.hits} == {10}
        with pytest.raises(SearchTooNarrow):
            view.search(queries(40), Search(10, tree=tree), may_scan=False)
        assert recall(here, tree=tree) >= 0.95


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_walk_sees_enough_to_tell_short_codes_apart(kernels, metric):
    # In these groups codes of four bits are off by more than rows differ.
    view = grown(kernels, 2500, metric, "q4").view()
    asked, cut = queries(100), np.zeros(100, np.bool_)
    rows, _ = view.index.walk(view.data, kernels.prepared(asked, metric), 12, 64, 16, cut=cut)
    assert cut.sum() <= 15, "one that has seen too little is walked again, for four times as much"
    best = view.search(asked, Search(10, exact=True)).hits
    assert sum(len(set(rows[n, :10]) & set(each.rows)) for n, each in enumerate(best)) >= 970
