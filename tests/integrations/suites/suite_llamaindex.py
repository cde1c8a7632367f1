"""The vector store of LlamaIndex, by itself and in an index."""

import itertools

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from kissvdb.llamaindex import KissVectorStore

WORDS = ("sea", "tide", "harbour", "light", "moon")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Counting(BaseEmbedding):
    """How often each of the words is there."""

    def _get_text_embedding(self, text):
        return [1.0 + text.count(word) * 10 for word in WORDS]

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query):
        return self._get_text_embedding(query)


def nodes():
    made = []
    for number, words in enumerate(itertools.combinations(WORDS, 2)):
        node = TextNode(text=" ".join(words), id_=f"n{number}")
        node.metadata = {"n": number, "odd": "yes" if number % 2 else "no", "tags": list(words)}
        if number == 3:
            del node.metadata["tags"]
        node.embedding = Counting().get_text_embedding(node.text)
        source = RelatedNodeInfo(node_id=f"doc{number % 3}")
        node.relationships = {NodeRelationship.SOURCE: source}
        made.append(node)
    return made


@pytest.fixture
def stores(client, name):
    ours, theirs = KissVectorStore(name, client), SimpleVectorStore()
    for store in (ours, theirs):
        assert store.add(nodes()) == [f"n{number}" for number in range(10)]
    return ours, theirs


ONE = MetadataFilter
FILTERS = [
    MetadataFilters(filters=[ONE(key="odd", value="yes")]),
    MetadataFilters(filters=[ONE(key="n", value=4, operator=FilterOperator.GTE)]),
    MetadataFilters(filters=[ONE(key="n", value=[1, 2], operator=FilterOperator.NIN)]),
    MetadataFilters(filters=[ONE(key="tags", value="sea", operator=FilterOperator.CONTAINS)]),
    MetadataFilters(filters=[ONE(key="tags", value=["sea"], operator=FilterOperator.ANY)]),
    MetadataFilters(filters=[ONE(key="tags", value=["sea", "moon"], operator=FilterOperator.ALL)]),
    MetadataFilters(
        filters=[ONE(key="n", value=1), ONE(key="n", value=5)], condition=FilterCondition.OR
    ),
    MetadataFilters(
        filters=[ONE(key="odd", value="no"), ONE(key="n", value=6, operator=FilterOperator.LT)]
    ),
]


@pytest.mark.parametrize("filters", [None, *FILTERS])
def test_it_finds_what_the_store_in_memory_finds(stores, filters):
    vector = Counting().get_query_embedding("sea moon")
    query = VectorStoreQuery(query_embedding=vector, similarity_top_k=10, filters=filters)
    ours, theirs = (store.query(query) for store in stores)
    assert dict(zip(ours.ids, ours.similarities, strict=True)) == pytest.approx(
        dict(zip(theirs.ids, theirs.similarities, strict=True)), abs=1e-5
    )
    assert ours.similarities == sorted(ours.similarities, reverse=True)
    assert all(node.text == nodes()[int(node.node_id[1:])].text for node in ours.nodes)


def test_modes_and_what_there_is_not(stores):
    store, _ = stores
    asked = {"query_embedding": Counting().get_query_embedding("sea"), "query_str": "moon"}
    hybrid = VectorStoreQuery(
        **asked, mode=VectorStoreQueryMode.HYBRID, alpha=0.0, similarity_top_k=2
    )
    assert all("moon" in node.text for node in store.query(hybrid).nodes)
    words = VectorStoreQuery(query_str="tide", mode=VectorStoreQueryMode.TEXT_SEARCH)
    assert "tide" in store.query(words).nodes[0].text
    mmr = VectorStoreQuery(**asked, mode=VectorStoreQueryMode.MMR, similarity_top_k=3)
    assert len(store.query(mmr).nodes) == 3
    only = VectorStoreQuery(**asked, node_ids=["n1", "n2"], doc_ids=["doc1"], similarity_top_k=9)
    assert store.query(only).ids == ["n1"]
    with pytest.raises(ValueError, match="mode: default"):
        store.query(VectorStoreQuery(**asked, mode=VectorStoreQueryMode.SVM))
    match = MetadataFilter(key="odd", value="y", operator=FilterOperator.TEXT_MATCH)
    with pytest.raises(ValueError, match="whole values"):
        store.query(VectorStoreQuery(**asked, filters=MetadataFilters(filters=[match])))


async def test_an_index_writes_asks_and_forgets(client, name):
    store = KissVectorStore(name, client)
    empty = await store.aquery(VectorStoreQuery(query_embedding=[1.0] * 5))
    assert empty.nodes == []
    context = StorageContext.from_defaults(vector_store=store)
    documents = [Document(text=f"the {word} ü", id_=word, metadata={"w": word}) for word in WORDS]
    index = VectorStoreIndex.from_documents(
        documents, storage_context=context, embed_model=Counting()
    )
    retriever = index.as_retriever(similarity_top_k=1)
    (found,) = await retriever.aretrieve("tide?")
    assert (found.node.text, found.node.metadata) == ("the tide ü", {"w": "tide"})
    assert [each.text for each in await store.aget_nodes([found.node.node_id])] == ["the tide ü"]
    index.delete_ref_doc("tide")
    assert client.vector.count(name) == 4
    await store.adelete_nodes(filters=MetadataFilters(filters=[ONE(key="w", value="sea")]))
    assert client.vector.count(name) == 3
    await store.aclear()
    await store.adelete("sea")
