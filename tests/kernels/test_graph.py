"""Graphs: what a search of one finds, and how one is built."""

import sys
import threading

import numpy as np
import pytest

from kissvdb.kernels import plain, scan
from kissvdb.kernels.arrays import COSINE, L2, METRICS, new_scratch
from kissvdb.kernels.graph import insert, search
from tests.kernels.indexes import EF_CONSTRUCTION, M, build, clustered, every_code, recall

METRIC_VALUES = sorted(METRICS.values())
FORMS = ("float32", "int8", "int4")


def found_and_exact(index, queries, form, k=10, ef=64, depth=40):
    found, _ = search.search(
        index.graph, index.codes(form), index.rows, index.metric, queries, k, ef, depth,
        index.scratch,
    )  # fmt: skip
    exact, _ = scan.scan_rows(index.rows, len(index.rows), index.metric, queries, k)
    return found, exact


def queries_near(vectors, metric, count=40):
    noise = np.random.default_rng(9).standard_normal((count, vectors.shape[1]))
    return plain.prepare((vectors[:count] + 0.4 * noise).astype(np.float32), metric)


@pytest.mark.parametrize("linked_by", ["float32", "int8"])
@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("dim", [32, 63, 65, 128, 384])
def test_every_form_of_code_finds_what_exact_search_finds(dim, metric, linked_by):
    vectors = clustered(1200, dim)
    index = build(vectors, metric, linked_by)
    queries = queries_near(vectors, metric)
    for form in FORMS:
        assert recall(*found_and_exact(index, queries, form)) >= 0.96, form


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("dim", [1, 3, 8])
def test_few_dimensions_are_searched_by_float32_or_int8(dim, metric):
    vectors = np.random.default_rng(dim).standard_normal((800, dim)).astype(np.float32)
    index = build(vectors, metric, "float32")
    queries = plain.prepare(vectors[:30] * np.float32(1.01), metric)
    exact_ids, exact = scan.scan_rows(index.rows, 800, metric, queries, 10)
    assert exact_ids.shape == (30, 10)
    for form in ("float32", "int8"):
        _, scores = search.search(
            index.graph, index.codes(form), index.rows, metric, queries, 10, 300, 300, index.scratch
        )
        # Rows of one dimension tie by the hundred: scores are compared, not ids.
        assert (scores[:, -1] >= exact[:, -1] - 1e-5).mean() >= 0.95, form


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [0, 1, 2, 17, 64, 65, 257])
def test_small_graphs_give_every_row_when_k_exceeds_them(count, form, metric):
    vectors = clustered(count + 1, 48)
    index = build(vectors[:count], metric)
    queries = plain.prepare(vectors[count:], metric)
    ids, scores = search.search(
        index.graph, index.codes(form), index.rows, metric, queries, 300, 10, 300, index.scratch
    )
    exact_ids, exact_scores = scan.scan_rows(index.rows, count, metric, queries, 300)
    assert ids.tolist() == exact_ids.tolist()
    assert scores.tobytes() == exact_scores.tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_scores_have_the_bits_of_exact_search(form):
    vectors = clustered(900, 70)
    index = build(vectors, COSINE)
    queries = queries_near(vectors, COSINE)
    ids, scores = search.search(
        index.graph, index.codes(form), index.rows, COSINE, queries, 10, 64, 40, index.scratch
    )
    for j, query in enumerate(queries):
        assert scores[j].tobytes() == plain.scores(index.rows[ids[j]], query, COSINE).tobytes()
        assert sorted(zip(-scores[j], ids[j], strict=True)) == list(
            zip(-scores[j], ids[j], strict=True)
        )


def test_a_batch_of_queries_is_answered_as_one_by_one():
    vectors = clustered(900, 70)
    index = build(vectors, COSINE)
    queries = queries_near(vectors, COSINE)
    together, _ = found_and_exact(index, queries, "int4")
    for j in range(len(queries)):
        alone, _ = found_and_exact(index, queries[j : j + 1], "int4")
        assert alone[0].tolist() == together[j].tolist()


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("linked_by", ["float32", "int8"])
def test_two_threads_build_the_same_graph_as_one(linked_by, metric):
    vectors = clustered(1500, 48)
    one = build(vectors, metric, linked_by, threads=1).graph
    two = build(vectors, metric, linked_by, threads=2).graph
    for left, right in zip(one, two, strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def test_levels_thin_out_by_m_and_do_not_depend_on_history():
    levels = insert.draw_levels(0, 100_000, 16, seed=3)
    for level in (1, 2, 3):
        expected = 100_000 * 16.0**-level
        assert abs((levels >= level).sum() - expected) < 5 * expected**0.5
    parts = [insert.draw_levels(i, i + 1000, 16, seed=3) for i in range(0, 100_000, 1000)]
    assert np.concatenate(parts).tobytes() == levels.tobytes()
    assert levels.tobytes() != insert.draw_levels(0, 100_000, 16, seed=4).tobytes()


def test_links_stay_in_bounds_and_point_to_no_row_twice_nor_to_itself():
    graph = build(clustered(1500, 32), COSINE).graph
    for table, owners in (
        (graph.links, np.arange(1500)),
        (graph.upper, np.repeat(np.arange(1500), graph.levels)),
    ):
        for row, owner in zip(table[: len(owners)], owners, strict=True):
            used = row[: np.count_nonzero(row >= 0)]
            assert (row[len(used) :] == -1).all()
            assert ((used >= 0) & (used < 1500)).all()
            assert len(set(used.tolist()) | {int(owner)}) == len(used) + 1


def test_upper_layers_link_only_rows_that_reach_them():
    graph = build(clustered(1500, 32), COSINE).graph
    assert graph.levels[graph.entry] == graph.top == graph.levels.max()
    for row in np.flatnonzero(graph.levels):
        for layer in range(1, graph.levels[row] + 1):
            links = graph.upper[graph.upper_first[row] + layer - 1]
            assert (graph.levels[links[links >= 0]] >= layer).all()


@pytest.mark.parametrize("step", [1, 7, 400])
def test_a_graph_grown_in_steps_is_as_good_as_one_built_at_once(step):
    vectors = clustered(1200, 48)
    rows = plain.prepare(vectors, COSINE)
    _, codes, _ = every_code(rows, COSINE, 48)
    scratch = new_scratch(1200, 200, 2 * M, 48)
    graph = insert.new_graph(M)
    graph = insert.insert(graph, codes, COSINE, 1000, EF_CONSTRUCTION, [scratch])
    while graph.size < 1200:
        last = min(graph.size + step, 1200)
        graph = insert.insert(graph, codes, COSINE, last, EF_CONSTRUCTION, [scratch])
    queries = queries_near(vectors[1000:], COSINE)
    found, _ = search.search(graph, codes, rows, COSINE, queries, 10, 64, 20, scratch)
    exact, _ = scan.scan_rows(rows, 1200, COSINE, queries, 10)
    assert recall(found, exact) >= 0.97


@pytest.mark.parametrize("m", [2, 4, 48])
@pytest.mark.parametrize("ef_construction", [1, 400])
def test_any_m_and_ef_construction_build_a_graph_that_can_be_searched(ef_construction, m):
    vectors = clustered(700, 32)
    rows = plain.prepare(vectors, COSINE)
    _, codes, _ = every_code(rows, COSINE, 32)
    scratch = new_scratch(700, ef_construction, 2 * m, 32)
    graph = insert.insert(insert.new_graph(m), codes, COSINE, 700, ef_construction, [scratch])
    assert graph.links.shape[1] == 2 * m
    wide = new_scratch(700, 300, 2 * m, 32)
    queries = queries_near(vectors, COSINE)
    found, _ = search.search(graph, codes, rows, COSINE, queries, 10, 300, 20, wide)
    exact, _ = scan.scan_rows(rows, 700, COSINE, queries, 10)
    assert recall(found, exact) >= (0.6 if m == 2 else 0.9)


def crowd(kind):
    random = np.random.default_rng(11)
    vectors = random.standard_normal((1500, 48)).astype(np.float32)
    if kind == "half are one row":
        vectors[random.permutation(1500)[:750]] = vectors[0]
    elif kind == "half are zero":
        vectors[::2] = 0
    elif kind == "ten of each":
        vectors = np.repeat(vectors[:150], 10, axis=0)
    elif kind == "arriving cluster by cluster":
        vectors = np.repeat(vectors[:30] * 2, 50, axis=0) + 0.5 * vectors
    return vectors


@pytest.mark.parametrize("linked_by", ["float32", "int8"])
@pytest.mark.parametrize("metric", [COSINE, L2])
@pytest.mark.parametrize(
    "kind", ["half are one row", "half are zero", "ten of each", "arriving cluster by cluster"]
)
def test_crowds_of_equal_rows_hide_neither_themselves_nor_others(kind, metric, linked_by):
    vectors = crowd(kind)
    index = build(vectors, metric, linked_by)
    queries = plain.prepare(
        vectors[::30] + 0.2 * np.random.default_rng(3).standard_normal((50, 48)).astype("f4"),
        metric,
    )
    _, scores = search.search(
        index.graph, index.codes(linked_by), index.rows, metric, queries, 10, 100, 100,
        index.scratch,
    )  # fmt: skip
    _, exact = scan.scan_rows(index.rows, 1500, metric, queries, 10)
    # Equal rows stand in for each other, so what counts is how good the answers are.
    assert (scores >= exact[:, -1:] - 1e-6).mean() >= 0.93


def test_all_rows_equal_are_all_within_reach():
    index = build(np.ones((1500, 16), dtype=np.float32), COSINE)
    ids, _ = search.search(
        index.graph, index.int8, index.rows, COSINE, index.rows[:1].copy(), 1400, 1500, 1500,
        index.scratch,
    )  # fmt: skip
    assert len(set(ids[0].tolist()) - {-1}) == 1400


def test_a_reader_of_an_older_view_sees_only_its_rows_while_a_writer_inserts():
    vectors = clustered(3000, 32)
    rows = plain.prepare(vectors, COSINE)
    _, codes, nibbles = every_code(rows, COSINE, 32)
    scratch = new_scratch(3000, 200, 2 * M, 32)
    graph = insert.insert(insert.new_graph(M), codes, COSINE, 800, EF_CONSTRUCTION, [scratch])
    queries = queries_near(vectors[:800], COSINE)
    published = [graph]
    problems = []
    done = threading.Event()

    def read():
        mine = new_scratch(3000, 200, 2 * M, 32)
        while not done.is_set():
            view = published[0]
            ids, _ = search.search(view, nibbles, rows, COSINE, queries, 10, 64, 40, mine)
            exact, _ = scan.scan_rows(rows, view.size, COSINE, queries, 10)
            if ids.min() < 0 or ids.max() >= view.size or recall(ids, exact) < 0.85:
                problems.append((view.size, ids.min(), ids.max(), recall(ids, exact)))

    reader = threading.Thread(target=read)
    reader.start()
    while graph.size < 3000:
        graph = insert.insert(graph, codes, COSINE, graph.size + 200, EF_CONSTRUCTION, [scratch])
        published[0] = graph
    done.set()
    reader.join()
    assert problems == []
    in_peace = insert.insert(insert.new_graph(M), codes, COSINE, 800, EF_CONSTRUCTION, [scratch])
    while in_peace.size < 3000:
        last = in_peace.size + 200
        in_peace = insert.insert(in_peace, codes, COSINE, last, EF_CONSTRUCTION, [scratch])
    assert in_peace.links[:3000].tobytes() == graph.links[:3000].tobytes()


def test_an_older_graph_stays_as_it_was_when_its_arrays_are_outgrown():
    rows = plain.prepare(clustered(600, 32), COSINE)
    _, codes, _ = every_code(rows[:300], COSINE, 32)
    _, all_codes, _ = every_code(rows, COSINE, 32)
    scratch = new_scratch(600, 200, 2 * M, 32)
    small = insert.insert(insert.new_graph(M), codes, COSINE, 300, EF_CONSTRUCTION, [scratch])
    before = small.links.tobytes()
    large = insert.insert(small, all_codes, COSINE, 600, EF_CONSTRUCTION, [scratch])
    assert small.links.tobytes() == before
    assert (small.size, large.size) == (300, 600)


def test_kernels_keep_no_reference_to_the_arrays_they_were_given():
    index = build(clustered(200, 32), COSINE)
    queries = index.rows[:2].copy()
    arrays = [index.rows, index.graph.links, index.int4.rows, index.scratch.pool, queries]
    before = [sys.getrefcount(array) for array in arrays]
    for _ in range(10):
        found_and_exact(index, queries, "int4")
    assert [sys.getrefcount(array) for array in arrays] == before


def test_arguments_that_do_not_fit_are_refused():
    index = build(clustered(200, 32), COSINE)
    queries = index.rows[:1].copy()
    args = (index.graph, index.int8, index.rows, COSINE, queries)
    with pytest.raises(ValueError, match="not 200"):
        search.search(*args, 5, 10, 10, new_scratch(100, 50, 2 * M, 32))
    with pytest.raises(ValueError, match="90 entries"):
        search.search(*args, 5, 90, 10, new_scratch(200, 80, 2 * M, 32))
    with pytest.raises(ValueError, match="too short"):
        search.search(*args, 5, 10, 10, new_scratch(200, 50, 4, 32))
    with pytest.raises(TypeError):
        search.search(*args[:4], queries.astype(np.float64), 5, 10, 10, index.scratch)
    with pytest.raises(ValueError, match="4-bit"):
        insert.insert(insert.new_graph(M), index.int4, COSINE, 200, 50, [index.scratch])
    with pytest.raises(ValueError, match="beyond"):
        insert.insert(insert.new_graph(M), index.int8, COSINE, 201, 50, [index.scratch])
