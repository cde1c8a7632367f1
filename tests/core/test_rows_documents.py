"""Rows of documents: no vectors, but stamps; the same filters, upkeep and answers."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.store.policy import Policy
from tests.core.row_world import PLAIN, SALT

SPEC = CollectionSpec.of_documents("d")
NOW_MS = 1_000_000


def documents(policy=None):
    return Rows(SPEC, SALT, PLAIN, policy=policy or Policy())


def written(id_, document, revision=1, offset=0, expires_at_ms=None):
    return DocumentWritten(id_, msgspec.json.encode(document), revision, offset, expires_at_ms)


def upkeep(rows):
    while (work := rows.work_due()) is not None:
        work.run()
        rows.install(work)


def tree(filter_):
    return filters.parse(filter_)


def test_a_document_comes_back_with_its_revision_and_offset():
    rows = documents()
    rows.apply_all([(7, written("a", {"n": 1}, 3, 7)), (9, written("b", [1], 1, 9))])
    view = rows.view(NOW_MS)
    assert (view.offset, view.live_count) == (9, 2)
    found = view.get("a")
    assert (found.meta, found.revision, found.offset) == (b'{"n":1}', 3, 7)
    assert (found.vector, found.text) == (b"", None)
    assert view.ids_matching(tree({"n": 1})) == ["a"]
    assert [each.id for each in view.scroll()] == ["a", "b"]


def test_documents_made_of_tables_keep_the_offsets_of_their_records():
    rows = documents()
    rows.apply_all([(50, written("a", {}, 2, 40)), (50, written("b", {}, 1, 12))])
    view = rows.view(NOW_MS)
    assert view.offset == 50
    assert [view.get(id_).offset for id_ in "ab"] == [40, 12]


def test_a_document_past_its_time_is_hidden():
    rows = documents()
    rows.apply(1, written("a", {}, 1, 1, NOW_MS))
    assert rows.view(NOW_MS - 1).get("a") is not None
    assert rows.view(NOW_MS).get("a") is None
    assert rows.expired(NOW_MS, 10) == ["a"]


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 3))), max_size=60
)


@settings(max_examples=25, deadline=None)
@given(CHANGES, st.integers(1, 9))
def test_documents_are_those_of_a_dict_through_batches_and_vacuums(changes, batch):
    rows = documents(Policy(vacuum_rows_min=4, vacuum_share=0.2))
    model = {}
    numbered = []
    for offset, (id_, value) in enumerate(changes, start=1):
        if value is None:
            numbered.append((offset, DocumentDeleted(id_)))
            model.pop(id_, None)
        else:
            numbered.append((offset, written(id_, {"n": value}, offset, offset)))
            model[id_] = (value, offset)
    for start in range(0, len(numbered), batch):
        rows.apply_all(numbered[start : start + batch])
        upkeep(rows)
    view = rows.view(NOW_MS)
    assert sorted(view.ids_matching(None)) == sorted(model)
    for id_, (value, offset) in model.items():
        found = view.get(id_)
        assert msgspec.json.decode(found.meta) == {"n": value}
        assert (found.revision, found.offset) == (offset, offset)
    for value in range(4):
        wanted = sorted(id_ for id_, (each, _) in model.items() if each == value)
        assert sorted(view.ids_matching(tree({"n": value}))) == wanted


def test_a_row_of_a_document_takes_no_room_for_a_vector():
    rows = documents()
    rows.apply(1, written("a", {"n": 1}))
    data = rows.view(NOW_MS).data
    assert data.vectors.size == 0
    assert data.row_bytes == 8 * (2 + 1 + 2)
    assert np.array_equal(data.stamps[:1], [[1, 0]])
