"""The standard suites of langchain-tests."""

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    RetrieversIntegrationTests,
    SyncCacheTestSuite,
    VectorStoreIntegrationTests,
)

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
