"""LlamaIndex on a kissvdb server: a vector store.

See docs/langchain.md. Needs llama-index-core: ``pip install 'kissvdb[llama-index]'``.
"""

from kissvdb.adapters.missing import needs

with needs("llama-index"):
    from kissvdb.llamaindex.vector_store import KissVectorStore

__all__ = ["KissVectorStore"]
