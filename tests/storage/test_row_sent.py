"""Vectors as they were sent: kept beside the prepared ones only where they differ."""

import attrs
import numpy as np
import pytest

from kissvdb.core.rows.rules import Delete
from kissvdb.core.search import Search
from kissvdb.core.store.options import IndexOptions
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import MistypedField
from tests.core.row_world import clusters, compiled, raw
from tests.storage.row_directory import DIM, fill, reopen, save, stored_world


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def names(directory):
    return {path.name.split(".")[0] for path in directory.iterdir()}


def write(here, vectors, first=0):
    here.upsert({f"v{n}": each for n, each in enumerate(vectors, first)})


def test_vectors_of_length_one_are_stored_once_and_answered_to_the_bit(tmp_path):
    here = stored_world(tmp_path)
    vectors = unit(clusters(1, 40, DIM))
    vectors[3] = -0.0
    write(here, vectors)
    save(here, tmp_path)
    assert "sent" not in names(tmp_path)
    again, warnings = reopen(here, tmp_path)
    assert warnings == []
    others = clusters(2, 40, DIM)
    write(again, others, 40)
    save(again, tmp_path)
    assert {"sent", "sent_flags"} <= names(tmp_path)
    again, _ = reopen(again, tmp_path)
    again.upkeep()
    assert again.rows.damage is None
    for n, each in enumerate([*vectors, *others]):
        assert again.view().get(f"v{n}").vector == raw(each)


def test_rows_of_a_vacuum_keep_what_was_sent(tmp_path):
    here = stored_world(tmp_path)
    vectors = [*unit(clusters(1, 40, DIM)), *clusters(2, 40, DIM)]
    write(here, vectors)
    here.run(*(Delete(f"v{n}") for n in range(0, 80, 2)))
    work = here.rows.vacuum()
    while here.rows.vacuum_progress is not None:
        work.run()
        here.rows.install(work)
        work = here.rows.work_due()
    for n in range(1, 80, 2):
        assert here.view().get(f"v{n}").vector == raw(vectors[n])


def halves(directory, kernels=None):
    return stored_world(directory, kernels, options=IndexOptions(store="f16"))


@pytest.mark.parametrize("loaded", [False, True])
def test_float16_rows_are_found_and_answered_as_they_are_held(tmp_path, loaded):
    here = halves(tmp_path, compiled() if loaded else None)
    vectors = fill(here, 1300)
    here.upkeep()
    save(here, tmp_path)
    again, warnings = reopen(here, tmp_path)
    again.upkeep()
    view = again.view()
    assert (warnings, again.rows.damage) == ([], None)
    assert view.indexed_rows == (1300 if loaded else 0)
    held = unit(vectors).astype(np.float16).astype(np.float32)
    assert view.get("v7").vector == raw(held[7])
    queries = unit(clusters(9, 20, DIM))
    exact = view.search(queries, Search(10, exact=True)).hits
    for query, hits in zip(queries, exact, strict=True):
        scores = held.astype(np.float64) @ query.astype(np.float64)
        assert np.abs(hits.scores - np.sort(scores)[:-11:-1]).max() < 1e-6
    assert view.audit(queries, Search(10)) >= 0.95


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metric": "l2"}, "cosine"),
        ({"metric": "cosine", "index": "vamana"}, "index.kind"),
        ({"metric": "cosine", "quantization": "none"}, "quantization"),
    ],
)
def test_float16_is_refused_where_it_cannot_be_stored(fields, said):
    with pytest.raises(MistypedField, match=said):
        CollectionSpec("c", DIM, options=IndexOptions(store="f16"), **fields)


def test_what_was_given_up_is_not_in_the_way_of_another_form(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 100)
    save(here, tmp_path)
    rows, before = here.rows, here.rows.spec
    rows.may_convert = True
    rows.convert(attrs.evolve(before, options=IndexOptions(store="f16")))
    rows.work_due().run()
    # The process ends here: its log says later that this is given up, and something else begun.
    again, _ = reopen(here, tmp_path)
    again.rows.convert_now(attrs.evolve(before, index="flat"))
    again.check(clusters(9, 1, DIM)[0], 30)
    save(again, tmp_path)
    again.spec = again.rows.spec
    last, warnings = reopen(again, tmp_path)
    assert (warnings, last.view().data.guard is None) == ([], False)
    last.upkeep()
    assert last.rows.damage is None
    last.check(clusters(9, 1, DIM)[0], 30)
