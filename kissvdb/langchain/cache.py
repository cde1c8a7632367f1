"""Answers of models, kept for a while."""

import hashlib
import json
from typing import Any

from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.load import dumps, loads
from langchain_core.load.serializable import Serializable
from langchain_core.messages import AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
)

from kissvdb.adapters.blobs import Blobs
from kissvdb.adapters.threads import in_thread
from kissvdb.client import Client

DAY_SECS = 86_400.0
# Whoever may write to the server may not choose what is made here of what was written.
ANSWERS: list[type[Serializable]] = [
    *(Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk),
    *(AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk),
]


class KissCache(BaseCache):
    """A cache of answers to exactly the same prompt of exactly the same model.

    An answer ends ``ttl_secs`` after it was written (a day; None: never). A hit never makes it last
    longer, so nothing is answered for ever because it is asked often.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        name: str = "langchain-cache",
        ttl_secs: float | None = DAY_SECS,
    ) -> None:
        """``client`` None: the server that the environment says."""
        self._blobs = Blobs(client or Client(), name)
        self._ttl_ms = None if ttl_secs is None else max(1, int(ttl_secs * 1000))

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """What was answered, or None; also where it cannot be read, as of a newer LangChain."""
        data = self._blobs.get(_key(prompt, llm_string))
        if data is None:
            return None
        try:
            with suppress_langchain_beta_warning():
                return [loads(each, allowed_objects=ANSWERS) for each in json.loads(data)]
        except (ValueError, TypeError, KeyError, NotImplementedError):
            return None

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer."""
        data = json.dumps([dumps(each) for each in return_val]).encode()
        self._blobs.put([(_key(prompt, llm_string), data)], self._ttl_ms)

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers; with ``llm_string=`` those of one model."""
        model = kwargs.get("llm_string")
        prefix = "" if model is None else _digest(model) + ":"
        self._blobs.delete(self._blobs.names(prefix))

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """As `lookup`."""
        return await in_thread(self.lookup, prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """As `update`."""
        await in_thread(self.update, prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        """As `clear`."""
        await in_thread(self.clear, **kwargs)


def _key(prompt: str, llm_string: str) -> str:
    return f"{_digest(llm_string)}:{_digest(prompt)}"


def _digest(text: str) -> str:
    # Prompts are long; what was asked is no business of whoever may list keys.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
