"""Bytes under names, as LangChain's stores of embeddings and of documents want them."""

from collections.abc import AsyncIterator, Iterator, Sequence

from langchain_core.stores import BaseStore

from kissvdb.adapters.blobs import Blobs
from kissvdb.adapters.threads import each_in_thread, in_thread
from kissvdb.client import Client


class KissByteStore(BaseStore[str, bytes]):
    """A store of bytes, of any length, in the keys ``<name>:k:...``.

    A write is durable when it returns. With ``ttl_secs`` it ends so long after it was made; reading
    extends nothing. After a crash within `mset` some pairs are written and others not, each of them
    whole.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        name: str = "langchain-bytes",
        ttl_secs: float | None = None,
    ) -> None:
        """``client`` None: the server that the environment says."""
        self._blobs = Blobs(client or Client(), name)
        self._ttl_ms = None if ttl_secs is None else max(1, int(ttl_secs * 1000))

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The bytes of each, None where there are none."""
        return [self._blobs.get(key) for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Set them."""
        self._blobs.put(key_value_pairs, self._ttl_ms)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove them."""
        self._blobs.delete(keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """All names that begin so, in order."""
        return self._blobs.names(prefix or "")

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """As `mget`."""
        return await in_thread(self.mget, keys)

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """As `mset`."""
        await in_thread(self.mset, key_value_pairs)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """As `mdelete`."""
        await in_thread(self.mdelete, keys)

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """As `yield_keys`."""
        async for key in each_in_thread(self.yield_keys, prefix=prefix):
            yield key
