"""The standard suites of langchain-tests, and what they do not ask."""

import time

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    RetrieversIntegrationTests,
    SyncCacheTestSuite,
    VectorStoreIntegrationTests,
)

from kissvdb.errors import DimMismatch, InvalidArgument
from kissvdb.langchain import KissByteStore, KissCache, KissRetriever, KissVectorStore

USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client, name):
        return KissVectorStore(name, self.get_embeddings(), client=client)


@pytest.mark.slow
class TestVectorStoreOfWordsAndVectors(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client, name):
        return KissVectorStore(name, self.get_embeddings(), client=client, mode="hybrid")


class TestByteStore(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, client, name):
        return KissByteStore(client, name=name)

    @pytest.fixture
    def three_values(self):
        # The last one is longer than a value of a key may be.
        return b"foo", b"\0\xff", b"buzz" * 30_000


class TestByteStoreAsync(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    async def kv_store(self, client, name):
        return KissByteStore(client, name=name)

    @pytest.fixture
    def three_values(self):
        return b"foo", b"", b"buzz" * 30_000


class TestCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, client, name):
        return KissCache(client, name=name)


class TestCacheAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, client, name):
        return KissCache(client, name=name)


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self, client, name):
        store = KissVectorStore(name, DeterministicFakeEmbedding(size=8), client=client)
        store.add_texts([f"text number {number}" for number in range(5)])
        self.store = store

    @property
    def retriever_constructor(self):
        return KissRetriever

    @property
    def retriever_constructor_params(self):
        return {"store": self.store}

    @property
    def retriever_query_example(self):
        return "text number 3"


def test_a_message_of_a_chat_model_comes_back_from_the_cache_whole(client, name):
    cache = KissCache(client, name=name)
    call = {"name": "look", "args": {"at": "the sea"}, "id": "1", "type": "tool_call"}
    message = AIMessage("¿qué?", tool_calls=[call], usage_metadata=USAGE)
    cache.update("prompt", "model", [ChatGeneration(message=message)])
    (found,) = cache.lookup("prompt", "model")
    assert found.message == message


def test_bad_input_is_refused_with_what_to_do_and_odd_input_is_not(client, name):
    store = KissVectorStore(name, DeterministicFakeEmbedding(size=3), client=client)
    assert store.similarity_search("nothing yet") == []
    assert store.get_by_ids(["nor this"]) == []
    store.add_texts(["ñ 東京", ""], [{"a": "ü"}, {}], ids=["東京/:", "b"])
    assert [each.page_content for each in store.get_by_ids(["b", "東京/:"])] == ["", "ñ 東京"]
    with pytest.raises(InvalidArgument, match="did you mean filters"):
        store.similarity_search("ñ", flter={"a": "ü"})
    with pytest.raises(InvalidArgument, match="did you mean \\$gte"):
        store.similarity_search("ñ", filter={"a": {"$gte2": 1}})
    with pytest.raises(DimMismatch):
        KissVectorStore(name, DeterministicFakeEmbedding(size=4), client=client).add_texts(["x"])
    with pytest.raises(ValueError, match="1 of them for 2 texts"):
        store.add_texts(["x", "y"], ids=["only"])
    with pytest.raises(ValueError, match="no relevance between 0 and 1"):
        store.similarity_search_with_relevance_scores("ñ", mode="text")
    assert store.similarity_search("東京", mode="text", filter={"a": "ü"})[0].id == "東京/:"
    assert store.delete(None)
    assert store.similarity_search("ñ") == []


def test_maximal_marginal_relevance_leaves_out_what_is_like_what_it_has(client, name):
    store = KissVectorStore(name, client=client)
    rows = {"a": [1.0, 0.0], "a again": [0.999, 0.01], "b": [0.7, 0.7], "far": [-1.0, 0.0]}
    client.vector.create(name, 2, "cosine")
    for text, vector in rows.items():
        client.vector.upsert(name, text, vector, text=text)
    asked = {"k": 2, "fetch_k": 3}
    found = store.max_marginal_relevance_search_by_vector([1.0, 0.1], lambda_mult=0.3, **asked)
    assert [each.id for each in found] == ["a again", "b"]
    found = store.max_marginal_relevance_search_by_vector([1.0, 0.1], lambda_mult=1.0, **asked)
    assert [each.id for each in found] == ["a again", "a"]
    assert [each.id for each in store.similarity_search_by_vector([1.0, 0.0], k=1)] == ["a"]


def test_an_answer_ends_at_its_time_and_a_hit_does_not_make_it_last(client, name):
    cache = KissCache(client, name=name)
    cache.update("prompt", "model", [Generation(text="answer")])
    cache.update("prompt", "other", [Generation(text="answer")])
    (key, _) = client.state.items(f"{name}:k:")
    cache.lookup("prompt", "model")
    assert client.state.get(key.key).expires_at_ms == key.expires_at_ms
    assert 0 < key.expires_at_ms / 1000 - time.time() <= 86_400
    cache.clear(llm_string="model")
    assert cache.lookup("prompt", "model") is None
    assert cache.lookup("prompt", "other") is not None
    client.state.put(next(iter(client.state.items(f"{name}:k:"))).key, {"d": "bm90IEpTT04="})
    assert cache.lookup("prompt", "other") is None
