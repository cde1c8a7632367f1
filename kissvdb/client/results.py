"""What calls answer, as types. Offsets and revisions are integers; times are Unix milliseconds.

Structs of msgspec, not classes of attrs: answers are decoded into them in one step, and attrs would
be a third of what it takes to import the client. `msgspec.structs.asdict` makes a dict of one.
"""

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np


class Item(msgspec.Struct, frozen=True):
    """A key of the state."""

    key: str
    value: Any
    revision: int
    offset: int
    expires_at_ms: int | None = None


class Written(msgspec.Struct, frozen=True):
    """A write that is durable. ``repeated``: it had been, and this is how it was answered."""

    offset: int
    revision: int = 0
    expires_at_ms: int | None = None
    repeated: bool = False


class Deleted(msgspec.Struct, frozen=True):
    """Whether there was something; ``offset`` is None when there was not."""

    deleted: bool
    offset: int | None = None
    repeated: bool = False


class Document(msgspec.Struct, frozen=True):
    """A document of a collection."""

    id: str
    doc: Any
    revision: int
    offset: int = 0
    expires_at_ms: int | None = None


class Found(msgspec.Struct, frozen=True):
    """A page of documents. ``cursor``: of the next one, None at the end."""

    documents: list[Document]
    cursor: str | None = None
    count: int | None = None
    facets: dict[str, Any] | None = None
    explain: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    def __len__(self) -> int:
        return len(self.documents)


class Vector(msgspec.Struct, frozen=True):
    """A vector as it was sent, in float32, with its metadata. None: it was not asked for."""

    id: str
    vector: list[float] | None = None
    meta: Any = None
    text: str | None = None
    expires_at_ms: int | None = None

    def numpy(self) -> "np.ndarray[Any, Any]":
        """float32 [dim]. Needs numpy."""
        import numpy as np

        return np.asarray(self.vector, dtype=np.float32)


class Scrolled(msgspec.Struct, frozen=True):
    """A page of vectors, in the order they were written. ``cursor``: of the next one, None at the
    end."""

    items: list[Vector]
    cursor: str | None = None

    def __iter__(self) -> Iterator[Vector]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Hit(msgspec.Struct, frozen=True):
    """One that was found: of vectors ``meta``, of documents ``doc``. Higher scores are better."""

    id: str
    score: float
    meta: Any = None
    doc: Any = None
    text: str | None = None
    vector: list[float] | None = None
    highlight: Any = None
    parts: Any = None


class Group(msgspec.Struct, frozen=True):
    """The best hits of one value of the field of ``group_by``."""

    hits: list[Hit]
    value: Any = None


class Search(msgspec.Struct, frozen=True):
    """Hits, best first; with ``group_by`` in ``groups``."""

    hits: list[Hit] = []
    groups: list[Group] | None = None
    exhausted: bool | None = None
    count: int | None = None
    facets: dict[str, Any] | None = None
    explain: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


class Rows(msgspec.Struct, frozen=True):
    """The answer to a query in SQL: a dict for each row, the newest offset they were read at."""

    rows: list[dict[str, Any]]
    columns: list[str] = []
    offset: int | None = None
    truncated: bool = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class OperationResult(msgspec.Struct, frozen=True):
    """What one operation of a batch did."""

    offset: int | None = None
    revision: int | None = None
    expires_at_ms: int | None = None
    deleted: bool | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """An atomic batch: its records have the offsets ``first_offset`` to ``last_offset``."""

    first_offset: int | None
    last_offset: int | None
    repeated: bool
    results: list[OperationResult]


class Refusal(msgspec.Struct, frozen=True):
    """An operation of a load that was refused. ``number`` counts from 0."""

    number: int
    code: str
    message: str


class Loaded(msgspec.Struct, frozen=True):
    """A load: how many operations are done, the newest offset, and what was refused (the first
    1,000 of it; ``refused`` counts all)."""

    done: int
    refused: int
    offset: int | None
    refusals: list[Refusal]


class Event(msgspec.Struct, frozen=True):
    """One of the stream. ``offset`` None: transient, it is not in the log."""

    type: str
    data: Any
    offset: int | None = None
    ts_ms: int = 0
    key: str | None = None
    tags: tuple[str, ...] = ()


class Gap(msgspec.Struct, frozen=True):
    """These offsets will not come, and why: ``trimmed``, ``ahead`` or ``epoch`` (see docs/api.md).
    After ``epoch``, what is known from ``from_offset`` on is of a history that is no more."""

    from_offset: int
    to_offset: int
    dropped: int
    reason: str
    epoch: str = ""

    type = "gap"


class ApiKey(msgspec.Struct, frozen=True):
    """An API key as it is listed: nobody can tell its secret again."""

    id: str
    name: str
    role: str
    scopes: dict[str, list[str]] | None = None
    limits: dict[str, int] | None = None
    permissions: dict[str, Any] = {}
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    rotated_at_ms: int | None = None
    former_until_ms: int | None = None
    last_used_ms: int | None = None


class NewApiKey(msgspec.Struct, frozen=True):
    """A key that was issued or rotated. ``key`` is its secret, told this once."""

    id: str
    key: str
    name: str
    role: str
    offset: int
    scopes: dict[str, list[str]] | None = None
    limits: dict[str, int] | None = None
    expires_at_ms: int | None = None
    former_until_ms: int | None = None

    def __repr__(self) -> str:
        # No secret in a log.
        return f"NewApiKey(id={self.id!r}, name={self.name!r}, role={self.role!r}, key=...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id), ("name", self.name), ("role", self.role), ("key", "...")]


class Me(msgspec.Struct, frozen=True):
    """Who this client is to the server. ``scopes`` None: all that the role allows. ``protected``:
    the server wants a key."""

    name: str
    role: str
    id: str | None = None
    scopes: dict[str, list[str]] | None = None
    limits: dict[str, int] | None = None
    used: dict[str, int] | None = None
    expires_at_ms: int | None = None
    protected: bool = False
    version: str = ""
    started_at_ms: int = 0


def float32(vector: Any) -> bytes:
    """The numbers of a vector as little-endian float32: a sequence, or anything with a dtype."""
    if isinstance(vector, bytes | bytearray | memoryview):
        return bytes(vector)
    if hasattr(vector, "dtype"):
        import numpy as np

        return np.ascontiguousarray(vector, dtype="<f4").tobytes()
    if isinstance(vector, str):
        raise TypeError("a vector is a sequence of numbers, not a text: give a text as text=...")
    numbers = array("f", vector)
    if numbers.itemsize != 4 or _BIG_ENDIAN:
        raise NotImplementedError("a platform of other floats: pass numpy arrays")
    return numbers.tobytes()


_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"


def rows_of(vectors: Any) -> list[bytes]:
    """A vector in bytes for each row of a matrix, or of a sequence of vectors."""
    return [float32(vector) for vector in vectors]


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(kind: Any, body: bytes) -> Any:
    """JSON as this type; what the type does not have is passed over, so that a newer server's
    answers can be read."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder.decode(body)
