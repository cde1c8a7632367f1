"""What is asked for becomes batches; nothing is made twice, nobody waits for ever."""

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.config import Embedder
from kissvdb.embedders.batching import BatchedEmbedder
from kissvdb.embedders.cache import ENTRY_BYTES, VectorCache, key_of
from kissvdb.errors import EmbedderUnavailable, InvalidArgument, Overloaded, Stopping
from tests.embedders.letters import DIM, Letters, counted


@pytest.fixture
def source():
    return Letters()


@pytest.fixture
def start(nursery, source):
    def start(**settings):
        embedder = BatchedEmbedder("mine", Embedder(**{"requests_max": 1, **settings}), source)
        nursery.start_soon(embedder.run)
        return embedder

    return start


def unit(texts):
    vectors = counted(texts)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def test_each_text_gets_its_vector_in_order_and_of_length_one(start):
    texts = ["abc", "a", "abcabc", "zzz", "a"]
    vectors = await start(batch_texts=2).embed(texts, kind="passage")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, unit(texts), rtol=1e-6)


async def test_no_text_is_an_empty_array(start):
    assert (await start().embed([], kind="query")).shape == (0, DIM)


async def test_what_was_seen_is_not_made_again_unless_it_is_for_another_kind(start, source):
    embedder = start()
    await embedder.embed(["one", "two", "one"], kind="passage")
    await embedder.embed(["two", "three"], kind="passage")
    await embedder.embed(["one"], kind="query")
    made = [text for _, texts in source.batches for text in texts]
    assert sorted(made) == ["one", "one", "three", "two"]
    assert embedder.statistics().hits == 1


async def test_texts_of_many_requests_share_batches_of_like_length(start, source):
    embedder = start(batch_texts=3)
    source.gate = trio.Event()
    async with trio.open_nursery() as askers:
        for request in (["a"], ["b", "c" * 50], ["d" * 60], ["e" * 70]):
            askers.start_soon(lambda texts=request: embedder.embed(texts, kind="passage"))
            await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
    assert [len(texts) for _, texts in source.batches] == [1, 3, 1]


async def test_a_batch_has_so_many_characters_at_most_but_one_text_always(start, source):
    await start(batch_chars_max=1024).embed(["a" * 600, "b" * 600, "c" * 5000], kind="passage")
    assert [len(texts) for _, texts in source.batches] == [1, 1, 1]


async def test_a_query_goes_before_what_is_imported(start, source):
    embedder = start(batch_texts=1)
    source.gate = trio.Event()
    async with trio.open_nursery() as askers:
        askers.start_soon(lambda: embedder.embed(["a", "b", "c"], kind="passage"))
        await trio.testing.wait_all_tasks_blocked()
        askers.start_soon(lambda: embedder.embed(["q"], kind="query"))
        await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
    assert [kind for kind, _ in source.batches] == ["passage", "query", "passage", "passage"]


async def test_when_too_many_wait_the_next_is_refused_and_a_long_request_is_not(start, source):
    embedder = start(queue_texts_max=300, batch_texts=10)
    source.gate = trio.Event()
    async with trio.open_nursery() as askers:
        long = [f"{n:b}".replace("0", "x").replace("1", "y") + "a" for n in range(1000)]
        askers.start_soon(lambda: embedder.embed(long, kind="passage"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="texts wait for the embedder mine"):
            await embedder.embed([f"q{n}" for n in range(100)], kind="passage")
        source.gate.set()
    assert sum(len(texts) for _, texts in source.batches) == 1000


async def test_a_failure_is_the_answer_of_its_texts_only(start, source):
    embedder = start()
    await embedder.embed(["good"], kind="query")
    source.failure = "broken"
    with pytest.raises(EmbedderUnavailable, match="broken"):
        await embedder.embed(["bad"], kind="query")
    assert embedder.problem() == "broken"
    # What is known needs nobody.
    await embedder.embed(["good"], kind="query")
    source.failure = None
    await embedder.embed(["bad"], kind="query")
    assert embedder.problem() is None


async def test_what_is_not_installed_is_said_at_once(start, source):
    source.failure = "missing"
    with pytest.raises(EmbedderUnavailable, match="not installed"):
        await start().embed(["a"], kind="query")
    assert source.batches == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda texts: counted(texts)[:, 1:], r"\(1, 25\) numbers where \(1, 26\)"),
        (lambda texts: np.vstack([counted(texts)] * 2), r"\(2, 26\) numbers"),
        (lambda texts: counted(texts) * np.float32(np.nan), "numbers that are none"),
        (lambda texts: counted(texts) / np.float32(0), "numbers that are none"),
    ],
)
async def test_no_vectors_of_these_texts_are_refused(start, source, answer, reason):
    source.answer = answer
    with np.errstate(all="ignore"), pytest.raises(EmbedderUnavailable, match=reason):
        await start().embed(["abc"], kind="query")


async def test_a_lone_surrogate_is_refused_before_anybody_is_asked(start, source):
    with pytest.raises(InvalidArgument, match="surrogate"):
        await start().embed(["fine", "\ud800"], kind="query")
    assert source.batches == []


async def test_a_batch_that_takes_too_long_is_given_up(start, source, autojump_clock):
    source.gate = trio.Event()
    embedder = start(timeout_secs=7)
    began = trio.current_time()
    with pytest.raises(EmbedderUnavailable, match="more than 7 s for 1 texts"):
        await embedder.embed(["a"], kind="query")
    assert trio.current_time() - began == pytest.approx(7)
    assert source.closed == 1


async def test_who_leaves_takes_the_rest_of_its_texts_along(start, source):
    embedder = start(batch_texts=1)
    source.gate = trio.Event()
    with trio.move_on_after(0.01):
        await embedder.embed([chr(97 + n) for n in range(20)], kind="passage")
    source.gate.set()
    await embedder.embed(["zz"], kind="passage")
    assert [texts for _, texts in source.batches] == [["a"], ["zz"]]


async def test_when_it_stops_nobody_is_left_waiting(source):
    embedder = BatchedEmbedder("mine", Embedder(requests_max=1, batch_texts=1), source)
    source.gate = trio.Event()
    refused = []

    async def ask(text):
        try:
            await embedder.embed([text], kind="query")
        except Stopping as refusal:
            refused.append(refusal)

    async with trio.open_nursery() as askers:
        async with trio.open_nursery() as running:
            running.start_soon(embedder.run)
            for text in ("a", "b", "c"):
                askers.start_soon(ask, text)
            await trio.testing.wait_all_tasks_blocked()
            running.cancel_scope.cancel()
        await ask("d")
    assert len(refused) == 4
    assert source.closed == 1


async def test_what_a_library_throws_is_a_refusal_and_no_crash(start, source):
    source.answer = {}.__getitem__
    embedder = start()
    with pytest.raises(EmbedderUnavailable, match="the embedder mine failed: TypeError"):
        await embedder.embed(["a"], kind="query")
    source.answer = counted
    await embedder.embed(["a"], kind="query")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=60))
def test_the_cache_is_bounded_and_keeps_what_was_used_last(steps):
    bytes_max = 10 * (ENTRY_BYTES + 40)
    cache, model = VectorCache(bytes_max), {}
    for key, size in steps:
        name = key_of("m", "query", bytes([key]))
        found = cache.get(name)
        assert found == model.get(name)
        if found is None:
            cache.put(name, bytes(size))
            model[name] = bytes(size)
        else:
            model[name] = model.pop(name)
        while sum(len(each) + ENTRY_BYTES for each in model.values()) > bytes_max:
            model.pop(next(iter(model)))
    assert len(cache) == len(model)
