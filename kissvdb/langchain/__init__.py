"""LangChain on a kissvdb server: vector store, retriever, byte store and cache of answers.

See docs/langchain.md. Needs langchain-core: ``pip install 'kissvdb[langchain]'``.
"""

from kissvdb.adapters.missing import needs

with needs("langchain"):
    from kissvdb.langchain.byte_store import KissByteStore
    from kissvdb.langchain.cache import KissCache
    from kissvdb.langchain.retriever import KissRetriever
    from kissvdb.langchain.vector_store import KissVectorStore

__all__ = ["KissByteStore", "KissCache", "KissRetriever", "KissVectorStore"]
