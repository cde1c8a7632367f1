"""A service that speaks OpenAI's ``POST /v1/embeddings``, as a source of vectors.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

import base64
import binascii
import logging
import math
import random
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import trio

from kissvdb import config
from kissvdb.embedders.embedder import Kind
from kissvdb.errors import EmbedderUnavailable
from kissvdb.kernels.arrays import Array

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("kissvdb.embedders")

BACK_OFF_SECS = 0.25
BACK_OFF_SECS_MAX = 8.0
RETRY_AFTER_SECS_MAX = 30.0
TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
ANSWER_BYTES_MAX = 256 * 2**20
SHOWN_CHARS = 200
_KEY = re.compile(r"[\x21-\x7e]+")


class _Item(msgspec.Struct):
    index: int
    embedding: list[float] | str


class _Answer(msgspec.Struct):
    data: list[_Item]


class _TryAgain(Exception):
    """Another try may go well. ``after_secs``: when the service says so."""

    def __init__(self, reason: str, after_secs: float | None = None) -> None:
        super().__init__(reason)
        self.after_secs = after_secs


class OpenAISource:
    """Source over ``base_url/embeddings``. The key is sent, and neither shown nor logged."""

    def __init__(self, name: str, settings: config.Embedder, key: str) -> None:
        """``key``: of the service; empty sends none."""
        self.model = f"openai/{settings.model}/{settings.dimensions}"
        if settings.passage_prefix:
            # Other texts in, other vectors out.
            self.model += f"/{settings.passage_prefix}"
        self.dim = settings.dimensions
        self._name = name
        self._settings = settings
        self._key = key.strip()
        self._client: httpx.AsyncClient | None = None

    def require(self) -> None:
        """See Source."""
        if find_spec("httpx") is None:
            raise EmbedderUnavailable(
                f"the embedder {self._name} needs httpx: pip install 'kissvdb[openai]'"
            )
        variable = self._settings.key_variable
        if self._key and not _KEY.fullmatch(self._key):
            raise EmbedderUnavailable(
                f"the environment variable {variable} of the embedder {self._name} has no key: "
                "visible ASCII characters are expected"
            )
        if variable and not self._key:
            raise EmbedderUnavailable(
                f"the embedder {self._name} takes its key from the environment variable "
                f"{variable}, which was not set when the server started"
            )

    async def vectors(self, texts: Sequence[str], kind: Kind) -> Array:
        """See Source. Tries again, ever later, when that may help."""
        tries = self._settings.retries + 1
        for number in range(1, tries + 1):
            try:
                return await self._ask(texts, kind)
            except _TryAgain as failure:
                reason, after_secs = str(failure), failure.after_secs
            if number < tries:
                logger.warning("the embedder %s: %s; trying again", self._name, reason)
                most = min(BACK_OFF_SECS * 2**number, BACK_OFF_SECS_MAX)
                # Spread, so that those who failed together do not come again together.
                await trio.sleep(
                    random.uniform(most / 2, most) if after_secs is None else after_secs
                )
        raise self._unavailable(f"{reason} ({tries} tries)")

    async def _ask(self, texts: Sequence[str], kind: Kind) -> Array:
        client = await self._opened()
        import httpx

        settings = self._settings
        model, prefix = settings.model, settings.passage_prefix
        if kind == "query":
            model, prefix = settings.query_model or model, settings.query_prefix
        body: dict[str, object] = {
            "model": model,
            "input": [prefix + text for text in texts],
            "encoding_format": "base64",
        }
        if settings.send_dimensions:
            body["dimensions"] = self.dim
        try:
            async with client.stream("POST", "embeddings", json=body) as response:
                content = await self._content(response)
        except httpx.RequestError as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from None
        if response.status_code in TRY_AGAIN:
            after_secs = _seconds(response.headers.get("retry-after"))
            raise _TryAgain(self._refusal(response.status_code, content), after_secs)
        if response.status_code != httpx.codes.OK:
            raise self._unavailable(self._refusal(response.status_code, content))
        return self._decoded(content, len(texts))

    async def _opened(self) -> "httpx.AsyncClient":
        if self._client is None:
            # The import and reading all certificates takes most of a second.
            made = await trio.to_thread.run_sync(self._make_client)
            if self._client is None:
                self._client = made
        return self._client

    def _make_client(self) -> "httpx.AsyncClient":
        import httpx

        return httpx.AsyncClient(
            base_url=self._settings.base_url.rstrip("/") + "/",
            headers={"authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self._settings.timeout_secs,
            # Not to whoever answers with a redirect: the key would go there.
            follow_redirects=False,
        )

    async def _content(self, response: "httpx.Response") -> bytes:
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > ANSWER_BYTES_MAX:
                raise self._unavailable(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        return bytes(content)

    def _refusal(self, status: int, content: bytes) -> str:
        said = content[: 4 * SHOWN_CHARS].decode(errors="replace")
        if self._key:
            # Some services repeat what they were sent.
            said = said.replace(self._key, "...")
        return f"HTTP status {status}: {' '.join(said.split())[:SHOWN_CHARS]}"

    def _decoded(self, content: bytes, count: int) -> Array:
        try:
            answer = msgspec.json.decode(content, type=_Answer)
            rows = {item.index: _numbers(item.embedding) for item in answer.data}
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError) as error:
            raise self._unavailable(f"an answer that is none: {error}") from None
        if len(answer.data) != count or rows.keys() != set(range(count)):
            raise self._unavailable(f"{len(answer.data)} vectors for {count} texts")
        dims = {row.shape[0] for row in rows.values()}
        if dims != {self.dim}:
            raise self._unavailable(
                f"vectors of {', '.join(map(str, sorted(dims)))} numbers, where dimensions says "
                f"{self.dim}"
            )
        vectors: Array = np.stack([rows[place] for place in range(count)])
        return vectors

    def _unavailable(self, reason: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(f"the embedder {self._name} answers with {reason}")

    async def aclose(self) -> None:
        """See Source."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _numbers(embedding: list[float] | str) -> Array:
    """float32 [n], of numbers or of base64 of them, little-endian."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    return np.array(embedding, np.float32)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds from now, bounded; None when there is none to be read."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECS_MAX)
