"""The documents nearest to a question."""

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from kissvdb.langchain.vector_store import KissVectorStore


class KissRetriever(BaseRetriever):
    """Finds ``k`` documents of a store, by ``mode``: vector, text (words) or hybrid (both).

    ``filter`` is one of the server (docs/filters.md). What is given to ``invoke`` goes before what
    was given here.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: KissVectorStore
    k: int = 4
    mode: str | None = None
    filter: dict[str, Any] | None = None
    search_kwargs: dict[str, Any] = Field(default_factory=dict)

    def _wanted(self, given: dict[str, Any]) -> dict[str, Any]:
        own = {"k": self.k, "filter": self.filter, "mode": self.mode}
        return {**own, **self.search_kwargs, **given}

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return self.store.similarity_search(query, **self._wanted(kwargs))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return await self.store.asimilarity_search(query, **self._wanted(kwargs))
