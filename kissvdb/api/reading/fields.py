"""The names that a request may use. What is unknown is refused, with the name that was meant.

A name that nobody reads would be a filter that is not applied, metadata that is lost, a key that
never expires. Three kinds may be there all the same: what the seed's clients send, query
parameters that begin with ``_``, and everything with ``server.unknown_fields = "ignore"``.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from msgspec import inspect

from kissvdb.errors import MistypedField

SENT_BY_THE_SEED = frozenset({"include_meta", "include_vector"})
"""What clients of the seed send to any route, whether or not it has a use for it."""

LIKENESS_MIN = 0.65
"""Of names, as difflib has it: one that is less alike was not meant (`beam_width` is no `emit`)."""
NAME_LENGTH_MAX = 64
"""Of a longer name this much is compared and shown: the time to compare grows with its square."""

# What other databases call things: the first name that the place knows is the one meant.
_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("filter", "where", "query_filter", "expr"), ("filters",)),
    **dict.fromkeys(("metadata", "payload", "attributes", "properties"), ("meta",)),
    **dict.fromkeys(("metadatas", "payloads"), ("metas",)),
    **dict.fromkeys(("ttl", "ttl_secs", "ttl_seconds", "expire", "expires", "ex"), ("ttl_ms",)),
    **dict.fromkeys(("limit", "top_k", "topk", "top", "n_results", "count", "k"), ("k", "limit")),
    **dict.fromkeys(("embedding", "values", "query", "query_vector"), ("vector",)),
    **dict.fromkeys(("embeddings", "queries", "query_embeddings"), ("vectors",)),
    **dict.fromkeys(("points", "records", "vectors", "documents", "batch"), ("items", "documents")),
    **dict.fromkeys(("docs", "items"), ("documents",)),
    **dict.fromkeys(("_id", "uid", "uuid", "document_id", "doc_id"), ("id",)),
    **dict.fromkeys(("document", "source", "_source"), ("doc", "fields")),
    **dict.fromkeys(("dimension", "dimensions", "size"), ("dim", "limit")),
    **dict.fromkeys(("distance", "space", "similarity"), ("metric",)),
    **dict.fromkeys(("orderby", "order_by", "order", "sort_by", "sorting"), ("sort",)),
    **dict.fromkeys(("projection", "select", "attributes_to_retrieve"), ("fields",)),
    **dict.fromkeys(("facet_by", "aggs", "aggregations", "facet"), ("facets",)),
    **dict.fromkeys(("skip", "page", "search_after"), ("cursor",)),
    **dict.fromkeys(("tenant", "partition", "ns"), ("namespace",)),
    **dict.fromkeys(("with_payload", "with_meta", "include_metadata"), ("include_meta",)),
    **dict.fromkeys(("with_vector", "with_vectors", "include_values"), ("include_vector",)),
    **dict.fromkeys(("score_threshold", "threshold"), ("min_score",)),
    **dict.fromkeys(("ef", "hnsw_ef"), ("ef_search",)),
    **dict.fromkeys(("ef_construct", "efConstruction"), ("ef_construction",)),
    **dict.fromkeys(("version", "revision", "cas"), ("if_revision",)),
    **dict.fromkeys(("from", "last_event_id", "lastEventId", "offset"), ("since", "cursor")),
    **dict.fromkeys(("event", "event_type"), ("type", "types")),
    **dict.fromkeys(("payload", "body", "value"), ("meta", "data", "value", "doc")),
    **dict.fromkeys(("data", "val"), ("value", "documents", "doc")),
    **dict.fromkeys(("starts_with", "match"), ("prefix", "key_prefix")),
    **dict.fromkeys(("after", "page_token", "next"), ("cursor",)),
}

_UNKNOWN = "Object contains unknown field"


class Codec(Protocol):
    """``msgspec.json`` or ``msgspec.msgpack``."""

    def decode(self, text: bytes | msgspec.Raw, /, *, type: Any) -> Any: ...

    def encode(self, value: Any, /) -> bytes: ...


def is_about_unknown(problem: msgspec.ValidationError) -> bool:
    """Whether a struct that forbids unknown fields met one."""
    return str(problem).startswith(_UNKNOWN)


def meant(name: str, known: Collection[str]) -> str | None:
    """The known name that somebody who wrote ``name`` most likely meant; None without any."""
    for candidate in _ELSEWHERE.get(name, ()):
        if candidate in known:
            return candidate
    lowered = {each.replace("_", ""): each for each in known}
    plain = name[:NAME_LENGTH_MAX].lower().replace("_", "").replace("-", "")
    close = difflib.get_close_matches(plain, lowered, n=1, cutoff=LIKENESS_MIN)
    return lowered[close[0]] if close else None


def shown(name: str) -> str:
    """``name`` for a message, cut when it is long."""
    return name if len(name) <= NAME_LENGTH_MAX else name[:NAME_LENGTH_MAX] + "..."


def known_only(text: bytes, type_: Any, where: str, codec: Codec, *, strict: bool) -> bytes:
    """A body of ``type_`` without the fields that it does not have; the others keep their bytes.

    Raises MistypedField for the first one that may not be there, unless not ``strict``. What is
    wrong in other ways stays, or raises msgspec's errors.
    """
    return bytes(_known_only(msgspec.Raw(text), _info(type_), where, codec, strict))


@lru_cache(maxsize=64)
def _info(type_: Any) -> inspect.Type:
    return inspect.type_info(type_)


def _known_only(
    text: msgspec.Raw, info: inspect.Type, where: str, codec: Codec, strict: bool
) -> msgspec.Raw:
    try:
        match info:
            case inspect.Metadata(type=inner):
                return _known_only(text, inner, where, codec, strict)
            case inspect.ListType(item_type=item):
                if not _holds_structs(item):
                    return text
                kept = [
                    _known_only(each, item, f"{where}[{place}]", codec, strict)
                    for place, each in enumerate(codec.decode(text, type=list[msgspec.Raw]))
                ]
                return msgspec.Raw(codec.encode(kept))
            case inspect.UnionType():
                types = list(_alternatives(info))
                for one in types:
                    if isinstance(one, inspect.ListType) and _holds_structs(one):
                        return _known_only(text, one, where, codec, strict)
                structs = [one for one in types if isinstance(one, inspect.StructType)]
                return _members(text, structs, where, codec, strict) if structs else text
            case inspect.StructType():
                return _members(text, [info], where, codec, strict)
    except msgspec.ValidationError:
        # Not the kind of thing that belongs here: whoever reads it says so.
        return text
    return text


def _alternatives(info: inspect.Type) -> Iterator[inspect.Type]:
    """The types of a union, those of unions in it too."""
    match info:
        case inspect.Metadata(type=inner):
            yield from _alternatives(inner)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _alternatives(each)
        case _:
            yield info


def _members(
    text: msgspec.Raw,
    structs: list[inspect.StructType],
    where: str,
    codec: Codec,
    strict: bool,
) -> msgspec.Raw:
    members: dict[str, msgspec.Raw] = codec.decode(text, type=dict[str, msgspec.Raw])
    struct = _chosen(structs, members, codec)
    if struct is None:
        return text
    fields = {field.encode_name: field.type for field in struct.fields}
    kept = {}
    for name, value in members.items():
        if name in fields:
            kept[name] = _known_only(value, fields[name], f"{where}.{name}", codec, strict)
        elif name == struct.tag_field:
            kept[name] = value
        elif strict and name not in SENT_BY_THE_SEED:
            raise MistypedField(f"{where}.{shown(name)}: unknown field{_hint(name, fields)}")
    return msgspec.Raw(codec.encode(kept))


def _chosen(
    structs: list[inspect.StructType], members: Mapping[str, msgspec.Raw], codec: Codec
) -> inspect.StructType | None:
    """The one struct, or that of the tag; None when the tag says none."""
    if structs[0].tag_field is None:
        return structs[0]
    tag = members.get(structs[0].tag_field)
    if tag is None:
        return None
    found = codec.decode(tag, type=str)
    return next((each for each in structs if each.tag == found), None)


def _holds_structs(info: inspect.Type) -> bool:
    match info:
        case inspect.StructType():
            return True
        case inspect.Metadata(type=inner) | inspect.ListType(item_type=inner):
            return _holds_structs(inner)
        case inspect.UnionType(types=types):
            return any(map(_holds_structs, types))
    return False


def _hint(name: str, known: Collection[str]) -> str:
    found = meant(name, known)
    return f", did you mean {found}?" if found else f"; there are {', '.join(known)}"
