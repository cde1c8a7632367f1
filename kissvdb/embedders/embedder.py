"""What everybody may ask of what makes vectors of texts, and what is behind it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from kissvdb.kernels.arrays import Array

Kind = Literal["query", "passage"]
"""What a text is for: some models read a question in another way than what answers it."""


class Embedder(Protocol):
    """Texts in, vectors out; made once, used by all."""

    @property
    def name(self) -> str:
        """As configured: "default", or a section ``[embedders.NAME]``."""

    @property
    def model(self) -> str:
        """Which model; another string whenever its vectors would be others."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def metric(self) -> str:
        """How its vectors are compared."""

    async def embed(self, texts: Sequence[str], *, kind: Kind) -> "Array":
        """One vector of each text, float32 [n, dim], each of length 1.

        Raises EmbedderUnavailable, Overloaded (too many texts wait) and InvalidArgument (a text
        that is no Unicode).
        """


class Source(Protocol):
    """A model, or the way to a service: asked for one batch, at most ``requests_max`` at a time."""

    @property
    def model(self) -> str:
        """See Embedder."""

    @property
    def dim(self) -> int:
        """See Embedder."""

    def require(self) -> None:
        """Raises EmbedderUnavailable when it is known, without any work, that it cannot answer."""

    async def vectors(self, texts: Sequence[str], kind: Kind) -> "Array":
        """Vectors of one batch, float32 [n, dim]. Raises EmbedderUnavailable."""

    async def aclose(self) -> None:
        """End what was started for it: a process, connections. It may be asked again."""
