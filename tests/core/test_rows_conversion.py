"""Rows written anew under another spec: the same rows, with another index over all of them."""

import attrs
import numpy as np
import pytest
from msgspec.structs import replace

from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Delete, Upsert
from kissvdb.core.search import Search
from kissvdb.core.store.options import IndexOptions
from kissvdb.core.store.spec import INDEX_KINDS
from tests.core.row_world import World, clusters, compiled

DIM, ROWS = 16, 1500


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def vectors():
    return clusters(np.random.default_rng(3), ROWS, DIM)


def do_what_is_due(rows):
    while (work := rows.work_due()) is not None:
        work.run()
        rows.install(work)
        if rows.converted is not None:
            rows.take_converted()


def world_of(kernels, kind):
    world = World(CollectionSpec("c", DIM, "cosine", kind, m=8), kernels)
    data = vectors()
    world.run(*(Upsert(f"v{n}", data[n].tobytes()) for n in range(ROWS)))
    do_what_is_due(world.rows)
    return world, data


def content(rows):
    view = rows.view(0)
    rows = view.hidden.living(view.data.count).tolist()
    return [replace(view.stored(row), row=0) for row in rows]


@pytest.mark.parametrize("kind", INDEX_KINDS)
def test_another_index_covers_all_rows_before_it_serves(kernels, kind):
    world, data = world_of(kernels, "flat" if kind == "hnsw" else "hnsw")
    rows = world.rows
    world.run(*(Delete(f"v{n}") for n in range(0, 60, 3)))
    before = content(rows)
    wanted = attrs.evolve(rows.spec, index=kind, m=12, quantization="q8")
    rows.convert(wanted)
    do_what_is_due(rows)
    assert rows.spec != wanted, "not before it may"
    rows.may_convert = True
    do_what_is_due(rows)
    assert (rows.spec, rows.wanted, content(rows)) == (wanted, None, before)
    view = rows.view(0)
    assert view.indexed_rows == (0 if kind == "flat" else ROWS - 20)
    assert view.statistics().deleted_rows == 0
    assert view.audit(data[100:110], Search(10)) > 0.9


def test_what_is_not_wanted_any_more_is_let_go_of(kernels):
    world, data = world_of(kernels, "hnsw")
    rows, before = world.rows, world.rows.spec
    rows.may_convert = True
    rows.convert(attrs.evolve(before, index="flat"))
    work = rows.work_due()
    assert work.kind == "reindex"
    rows.convert(None)
    work.run()
    rows.install(work)
    do_what_is_due(rows)
    assert rows.spec is before
    rows.convert_now(attrs.evolve(before, options=IndexOptions(ef_search=33)))
    assert (rows.spec.options.ef_search, len(content(rows))) == (33, ROWS)
    assert rows.view(0).audit(data[:5], Search(10)) > 0.9


@pytest.mark.parametrize("dim", [8, 32, 40])
def test_another_form_of_numbers_is_that_of_what_was_answered(kernels, dim):
    data = clusters(np.random.default_rng(4), 1200, dim)
    world = World(CollectionSpec("c", dim, "cosine"), kernels)
    world.run(*(Upsert(f"v{n}", each.tobytes()) for n, each in enumerate(data)))
    rows = world.rows
    do_what_is_due(rows)
    rows.may_convert = True
    rows.convert(attrs.evolve(rows.spec, options=IndexOptions(store="f16")))
    do_what_is_due(rows)
    alone = World(attrs.evolve(rows.spec), kernels)
    alone.run(*(Upsert(f"v{n}", each.tobytes()) for n, each in enumerate(data)))
    assert content(rows) == content(alone.rows)
    assert rows.view(0).data.sent is None
    assert rows.view(0).audit(data[:50], Search(10)) > 0.95
    held = content(rows)
    rows.convert(attrs.evolve(rows.spec, options=IndexOptions()))
    do_what_is_due(rows)
    assert (rows.spec.options.store, content(rows)) == ("f32", held)
    (found,) = rows.view(0).search(data[7:8], Search(1)).hits
    assert (found.ids, found.scores[0] > 0.9999) == (("v7",), True)
