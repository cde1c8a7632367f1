"""The store of LangGraph: it does what InMemoryStore does, and keeps it."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from kissvdb.langgraph import KissStore

WORDS = ("sea", "tide", "harbour", "light", "moon")


def embed(texts):
    """How often each of the words is there."""
    return [[1.0 + text.count(word) * 10 for word in WORDS] for text in texts]


INDEX = {"dims": len(WORDS), "embed": embed, "fields": ["text", "more[*]"]}


@pytest.fixture
def stores(client, name):
    return KissStore(client, name=name, index=INDEX), InMemoryStore(index=INDEX)


def plain(item):
    return None if item is None else (item.namespace, item.key, item.value)


def scored(found):
    return [(*plain(item), None if item.score is None else round(item.score, 4)) for item in found]


def test_it_answers_what_the_store_in_memory_answers(stores):
    chance = random.Random(7)
    spaces = [("u", "1"), ("u", "2"), ("u", "2", "deep"), ("v",), ("ü", "x y:/")]
    for number in range(40):
        where, key = chance.choice(spaces), f"k{chance.randrange(8)}"
        value = {"text": " ".join(chance.choices(WORDS, k=3)), "n": number, "in": {"a": number % 3}}
        if number % 4 == 0:
            value["more"] = chance.sample(WORDS, k=2)
        for store in stores:
            if number % 9 == 8:
                store.delete(where, key)
            else:
                store.put(where, key, value, index=False if number % 10 == 3 else None)
    ours, theirs = stores
    for where in spaces:
        for key in (f"k{number}" for number in range(8)):
            assert plain(ours.get(where, key)) == plain(theirs.get(where, key))
    for filter in (
        None,
        {"n": {"$gte": 10}},
        {"in": {"a": 1}},
        {"n": {"$ne": 39}},
        {"absent": None},
    ):
        for prefix in ((), ("u",), ("u", "2"), ("nowhere",)):
            found = [store.search(prefix, filter=filter, limit=100) for store in stores]
            mine, other = (sorted(map(repr, map(plain, each))) for each in found)
            assert mine == other
    for query in WORDS:
        # Items without texts come last there, without a score; here they are not found by meaning.
        mine = scored(ours.search(("u",), query=query, filter={"n": {"$lt": 35}}, limit=5))
        other = scored(theirs.search(("u",), query=query, filter={"n": {"$lt": 35}}, limit=100))
        assert [each[3] for each in mine] == [each[3] for each in other][:5]
        assert set(map(repr, mine)) <= set(map(repr, other))


def test_namespaces_are_listed_alike(stores):
    for store in stores:
        for where in (("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("é",), ("z" * 300, "c")):
            store.put(where, "k", {"n": 1})
    for asked in (
        {},
        {"prefix": ("a",)},
        {"prefix": ("a", "*"), "suffix": ("c",)},
        {"suffix": ("*", "c")},
        {"max_depth": 1},
        {"limit": 2, "offset": 1},
    ):
        ours, theirs = (store.list_namespaces(**asked) for store in stores)
        assert ours == theirs


def test_a_put_replaces_the_value_and_all_its_texts(stores, client, name):
    store, _ = stores
    store.put(("a",), "k", {"text": "sea", "more": ["tide", "moon"]})
    first = store.get(("a",), "k")
    store.put(("a",), "k", {"text": "harbour"})
    assert client.vector.count(name) == 1
    second = store.get(("a",), "k")
    assert (second.created_at, second.value) == (first.created_at, {"text": "harbour"})
    assert second.updated_at > first.updated_at
    (found,) = store.search(("a",), query="tide")
    assert found.value == {"text": "harbour"}
    store.delete(("a",), "k")
    store.delete(("a",), "k")
    assert client.vector.count(name) == 0
    assert store.search(("a",)) == []
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(("a.b",), "k", {"n": 1})])


@pytest.mark.slow
async def test_many_operations_at_once(stores):
    store, _ = stores
    await store.abatch([PutOp(("a",), f"k{n}", {"text": "sea", "n": n}) for n in range(300)])
    found = await store.abatch([GetOp(("a",), "k7"), SearchOp(("a",), limit=1000, query=None)])
    assert found[0].value["n"] == 7
    assert len(found[1]) == 300
    assert len(await store.asearch(("a",), query="sea", limit=10, offset=5)) == 10


def test_time_to_live_ends_an_item_with_its_vectors_and_reading_begins_it_anew(client, name):
    store = KissStore(client, name=name, index=INDEX, ttl={"default_ttl": 60.0})
    store.put(("a",), "k", {"text": "sea"})
    store.put(("a",), "for ever", {"text": "moon"}, ttl=None)
    (key,) = (each for each in client.state.items(f"doc:{name}:") if each.value["key"] == "k")
    client.state.patch(key.key, {}, ttl_ms=60_000)
    client.vector.update(name, key.value["vectors"][0], ttl_ms=60_000)
    assert store.get(("a",), "k", refresh_ttl=False) is not None
    assert client.state.get(key.key).expires_at_ms < key.expires_at_ms
    for read in (lambda: store.get(("a",), "k"), lambda: store.search(("a",), query="sea")):
        read()
        vector = client.vector.get(name, key.value["vectors"][0])
        assert client.state.get(key.key).expires_at_ms >= key.expires_at_ms
        assert vector.expires_at_ms >= key.expires_at_ms
    assert store.get(("a",), "for ever").value == {"text": "moon"}


def test_of_writers_at_once_one_is_the_last_and_no_text_of_another_stays(stores, client, name):
    store, _ = stores
    begin = threading.Barrier(4)

    def write(number):
        begin.wait(30)
        for _ in range(5):
            store.put(("a",), "k", {"text": "sea", "more": ["tide"] * number, "n": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    kept = store.get(("a",), "k").value
    assert client.vector.count(name) == 1 + kept["n"]
    assert client.vector.count(name, {"value.n": kept["n"]}) == 1 + kept["n"]
