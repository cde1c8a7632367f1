"""What was said of an index, checked against its kind."""

from typing import Any, Final

import attrs

from kissvdb.api.vectors.bodies import IndexBody, Quantization
from kissvdb.core.store.options import IndexOptions
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import MistypedField

KIND_DEFAULT: Final = "hnsw"
GRAPH: Final[tuple[str, ...]] = ("m", "ef_construction")
SUITS: Final = {
    "hnsw": (*GRAPH, "ef_search", "store"),
    # Of no use to it, and known from when nobody was told so.
    "flat": (*GRAPH, "store"),
    "ivf": ("lists", "nprobe", "store"),
    "vamana": ("ef_construction", "max_degree", "search_list_size", "beam_width", "store"),
}
"""What may be said of a kind."""


def shape_of(body: IndexBody | None) -> dict[str, Any]:
    """Of a new collection: index, m, ef_construction and options. Raises MistypedField."""
    given = _given(body)
    kind = given.pop("kind", KIND_DEFAULT)
    check(given, kind)
    graph = {name: given.pop(name) for name in GRAPH if name in given}
    return {**graph, "index": kind, "options": IndexOptions(**given)}


def reshaped(
    spec: CollectionSpec, *, index: IndexBody | None, quantization: Quantization | None
) -> CollectionSpec:
    """What becomes of a collection: what is not said stays, but for the options of a kind that
    goes. Raises MistypedField."""
    given = _given(index)
    kind = given.pop("kind", spec.index)
    check(given, kind)
    graph = {name: given.pop(name) for name in GRAPH if name in given}
    fields = attrs.fields_dict(CollectionSpec)
    graph |= {name: fields[name].default for name in GRAPH if name not in SUITS[kind]}
    kept = spec.options.given()
    kept = {name: each for name, each in kept.items() if name in SUITS[kind]}
    return attrs.evolve(
        spec,
        tuning=None,
        index=kind,
        **graph,
        options=IndexOptions(**{**kept, **given}),
        quantization=quantization or spec.quantization,
    )


def check(given: dict[str, Any], kind: str) -> None:
    """Raises MistypedField for what does not suit a kind."""
    for name in given:
        if name not in SUITS[kind]:
            kinds = [each for each, names in SUITS.items() if name in names]
            raise MistypedField(
                f"body.index.{name}: goes with kind {' or '.join(kinds)}, and this is {kind}, "
                f"which takes {', '.join(SUITS[kind])}"
            )


def _given(body: IndexBody | None) -> dict[str, Any]:
    fields = () if body is None else body.__struct_fields__
    return {name: value for name in fields if (value := getattr(body, name)) is not None}
