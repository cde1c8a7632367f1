"""Searches of rows by text, and by text and vector: the same rows, filters and upkeep."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core import bitmaps
from kissvdb.core.filters import parse as filters
from kissvdb.core.fusion import Fusion
from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Add, Delete, Update, Upsert
from kissvdb.core.search import Search
from kissvdb.core.store.policy import Policy
from kissvdb.core.text.query import QueryOptions, parse
from tests.core.row_world import PLAIN, SALT, World, raw

WORDS = ("red", "green", "blue", "house", "tree", "river")


def query(text, **options):
    return parse(text, QueryOptions(**options))


def world(metric="cosine", policy=None):
    spec = CollectionSpec("c", 2, metric, index="flat")
    return World(spec, PLAIN, Rows(spec, SALT, PLAIN, policy=policy or Policy()))


def add(id_, vector, text=None, **meta):
    return Add(id_, raw(vector), msgspec.json.encode(meta) if meta else None, text=text)


def text_ids(here, words, **search):
    return list(here.view().search_text(query(words), Search(**search)).hits[0].ids)


def test_a_text_is_found_when_it_is_written_and_not_when_it_is_gone():
    here = world()
    assert text_ids(here, "red") == []
    here.run(add("a", [1, 0]), add("b", [1, 0], "red house"), add("c", [1, 0], "red red tree"))
    assert text_ids(here, "red") == ["c", "b"]
    here.run(Update("b", text="green house"))
    assert text_ids(here, "red") == ["c"]
    assert text_ids(here, "house") == ["b"]
    here.run(Delete("b"), Update("c", text=""))
    assert text_ids(here, "red house") == []


def test_a_text_past_its_time_is_not_found():
    here = world()
    here.run(Add("a", raw([1, 0]), ttl_ms=10, text="red"))
    assert text_ids(here, "red") == ["a"]
    here.now_ms += 10
    assert text_ids(here, "red") == []


def test_filters_namespaces_pages_and_least_scores():
    here = world()
    here.run(
        *(
            add(f"v{n:02}", [1, n], "red " + "tree " * n, even=n % 2 == 0, _namespace=f"n{n % 3}")
            for n in range(20)
        )
    )
    whole = here.view().search_text(query("red"), Search(50)).hits[0]
    assert len(whole) == 20
    pages = [text_ids(here, "red", k=7, offset=start) for start in (0, 7, 14, 21)]
    assert [id_ for page in pages for id_ in page] == list(whole.ids)
    even = filters.parse({"even": True})
    assert text_ids(here, "red", k=50, tree=even) == list(whole.ids)[::2]
    assert text_ids(here, "red", k=50, namespace="n1") == list(whole.ids)[1::3]
    least = float(whole.scores[4])
    assert text_ids(here, "red", k=50, min_score=least) == list(whole.ids)[:5]
    found = here.view().search_text(query("red"), Search(11, tree=even, explain=True))
    assert found.exhausted == [True]
    assert (found.explanation.plan, found.explanation.selectivity) == ("text", 0.5)
    assert here.view().search_text(query("red"), Search(10, tree=even)).exhausted == [False]
    words = here.view().matching(query("red"), even)
    assert bitmaps.row_numbers(words).tolist() == list(range(0, 20, 2))


def test_searches_by_vector_say_when_there_is_no_more():
    here = world()
    here.run(*(add(f"v{n}", [1, n], even=n % 2 == 0) for n in range(10)))
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    even = filters.parse({"even": True})
    assert here.view().search(vectors, Search(5, tree=even)).exhausted == [False, False]
    assert here.view().search(vectors, Search(6, tree=even)).exhausted == [True, True]


def hybrid(here, vector, words, fusion, **search):
    vector = np.array(vector, np.float32)
    return here.view().search_hybrid(vector, query(words), Search(**search), fusion)


@pytest.mark.parametrize("method", ["sum", "rrf"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_hybrid_search_has_both_scores_of_every_hit(metric, method):
    here = world(metric)
    chance = np.random.default_rng(5)
    here.run(
        *(
            add(f"v{n:03}", chance.standard_normal(2), " ".join(chance.choice(WORDS, 3)), n=n)
            for n in range(60)
        ),
        add("no text", [1, 1]),
    )
    view, words = here.view(), query("red house")
    asked = Search(61, explain=True)
    found = hybrid(here, [1, 0.5], "red house", Fusion(method), k=61, explain=True)
    hits, parts = found.hits[0], found.parts
    assert len(hits) == len(set(hits.ids)) == 61
    assert (np.diff(hits.scores) <= 0).all()
    texts = dict(zip(*_pairs(view.search_text(words, asked)), strict=True))
    vectors = dict(zip(*_pairs(view.search(np.array([[1, 0.5]], np.float32), asked)), strict=True))
    for place, row in enumerate(hits.rows.tolist()):
        assert parts.text_scores[place] == pytest.approx(texts.get(row, 0.0))
        assert parts.vector_scores[place] == pytest.approx(vectors[row], abs=1e-6)
        assert (parts.text_ranks[place] == 0) == (row not in texts)
    assert found.explanation.text_us >= 0
    assert found.explanation.ignored == 0
    only_text = hybrid(here, [1, 0.5], "red house", Fusion(method, text=1.0), k=5).hits[0]
    assert list(only_text.ids) == list(view.search_text(words, Search(5)).hits[0].ids)
    only_vector = hybrid(here, [1, 0.5], "red house", Fusion(method, text=0.0), k=5).hits[0]
    assert list(only_vector.ids) == list(
        view.search(np.array([[1, 0.5]], np.float32), Search(5)).hits[0].ids
    )


def _pairs(found):
    return found.hits[0].rows.tolist(), found.hits[0].scores.tolist()


@pytest.mark.parametrize("words", ["red -blue", 'red -"blue house"', "red -blu*"])
def test_what_the_words_leave_out_the_vectors_do_not_bring_back(words):
    here = world()
    here.run(*(add(f"b{n}", [1, 0], "blue house") for n in range(60)))
    here.run(add("far", [-1, 0], "red"), add("none", [0, 1]), add("near", [1, 0.1], "green"))
    found = hybrid(here, [1, 0], words, Fusion(depth=2), k=3)
    assert sorted(found.hits[0].ids) == ["far", "near", "none"]
    assert hybrid(here, [1, 0], words, Fusion(depth=2), k=4).exhausted == [True]


def test_a_hybrid_search_returns_k_of_a_filter_that_leaves_so_many():
    here = world()
    here.run(*(add(f"v{n:03}", [1, n], "red" if n < 50 else None, n=n) for n in range(100)))
    tree = filters.parse({"n": {"$gte": 60}})
    found = hybrid(here, [1, 0], "red", Fusion(depth=3), k=30, tree=tree)
    assert (len(found.hits[0]), found.exhausted) == (30, [False])
    found = hybrid(here, [1, 0], "red", Fusion(depth=3), k=50, tree=tree)
    assert (len(found.hits[0]), found.exhausted) == (40, [True])
    pages = [
        hybrid(here, [1, 0], "red", Fusion(), k=10, offset=start).hits[0].ids
        for start in range(0, 100, 10)
    ]
    assert len({id_ for page in pages for id_ in page}) == 100


def test_hits_of_any_search_are_grouped():
    here = world()
    here.run(*(add(f"v{n}", [1, n], "red " * (n + 1), g=n % 3) for n in range(9)))
    view = here.view()

    def best(asked):
        return view.search_text(query("red"), asked).hits[0]

    groups = view.grouped(best, Search(2), "g", 2)
    assert [(each.value, len(each.hits)) for each in groups] == [
        (int(view.get(best(Search(1)).ids[0]).id[1:]) % 3, 2),
        (groups[1].value, 2),
    ]
    assert groups[0].hits.ids[0] == best(Search(1)).ids[0]


def test_documents_are_found_by_any_of_their_texts():
    rows = Rows(CollectionSpec.of_documents("d"), SALT, PLAIN)
    document = {"title": "Red house", "about": {"where": ["by the river", "a tree"]}, "n": 3}
    rows.apply(1, DocumentWritten("a", msgspec.json.encode(document), 1, 1))
    rows.apply(2, DocumentWritten("b", b'{"title":"green"}', 1, 2))

    def ids(text):
        known = frozenset(rows.view(0).texts.paths)
        asked = parse(text, QueryOptions(known=known))
        return list(rows.view(0).search_text(asked, Search()).hits[0].ids)

    assert ids("river") == ids("houses") == ids("title:red") == ids("about.where:tree") == ["a"]
    assert ids("about.where:red") == []
    rows.apply(3, DocumentDeleted("a"))
    assert ids("river") == []


COMMANDS = st.lists(
    st.one_of(
        st.builds(
            Upsert,
            st.sampled_from("abcdefgh"),
            st.just(raw([1, 0])),
            text=st.one_of(st.none(), st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)),
        ),
        st.builds(Delete, st.sampled_from("abcdefgh")),
    ),
    max_size=50,
)


@settings(max_examples=20, deadline=None)
@given(COMMANDS)
def test_what_is_found_is_what_the_log_says_through_upkeep_and_vacuums(commands):
    here = world(policy=Policy(vacuum_rows_min=6, vacuum_share=0.2))
    for number, command in enumerate(commands):
        here.run(command)
        if number % 7 == 0:
            here.upkeep()
    for word in WORDS:
        wanted = sorted(
            record.id for record in here.model.values() if word in (record.text or "").split()
        )
        assert sorted(text_ids(here, word, k=20)) == wanted
