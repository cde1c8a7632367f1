"""What a collection's index may be told beyond its kind: everything else is chosen."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs
import msgspec

Store = Literal["f32", "f16"]
EFFORTS: Final = {"hnsw": "ef_search", "ivf": "nprobe", "vamana": "search_list_size"}
"""The option that says how hard a search of a kind tries; others look at everything."""
STORES: Final = ("f32", "f16")


@attrs.frozen
class IndexOptions:
    """None: the index chooses. Which of these a kind of index reads, it says.

    ``lists``: how many lists rows are put into, ``nprobe``: how many of them a search looks at.
    ``max_degree``: links of a row; ``search_list_size``: rows a walk on disk keeps in view;
    ``beam_width``: rows it reads at once. ``ef_search``: rows a walk in memory keeps in view.
    ``store``: the form of a stored number. Whoever parses a request checks the ranges.
    """

    lists: int | None = None
    nprobe: int | None = None
    max_degree: int | None = None
    search_list_size: int | None = None
    beam_width: int | None = None
    ef_search: int | None = None
    store: Store = "f32"

    def __attrs_post_init__(self) -> None:
        assert self.store in STORES, self.store

    def given(self) -> dict[str, Any]:
        """Those that are not as by default."""
        return attrs.asdict(self, filter=lambda field, value: value != field.default)

    def encoded(self) -> bytes | None:
        """As a record has them: compact JSON of `given`; None for none."""
        given = self.given()
        return msgspec.json.encode(given) if given else None

    @classmethod
    def decoded(cls, text: bytes | None) -> "IndexOptions":
        """Those of a record."""
        return DEFAULT if text is None else cls.of_fields(msgspec.json.decode(text))

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> "IndexOptions":
        """Those of `given`. Raises TypeError for another form."""
        return cls(**fields)


@attrs.frozen
class Rung:
    """What searches of one ``effort`` found: ``recall`` is 0 to 1, ``us`` microseconds of CPU."""

    effort: int
    recall: float
    us: float


@attrs.frozen
class Tuning:
    """What was measured of a collection's index: the ``k`` nearest of ``queries`` vectors, among
    ``rows``, at ``at_ms``. ``ladder``: efforts, ascending."""

    k: int
    queries: int
    rows: int
    at_ms: int
    ladder: tuple[Rung, ...]

    def effort_for(self, recall: float) -> Rung | None:
        """The least effort that found so much; None: none did."""
        return next((rung for rung in self.ladder if rung.recall >= recall), None)

    def encoded(self) -> bytes:
        """As a record has it: compact JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, text: bytes) -> "Tuning":
        """That of a record."""
        return msgspec.json.decode(text, type=cls)


DEFAULT: Final = IndexOptions()
