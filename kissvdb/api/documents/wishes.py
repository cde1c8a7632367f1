"""What a find asks for, checked: the order, the place to go on from, fields and facets."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import msgspec

from kissvdb.api.documents.find_bodies import Facets, Fields, FieldsBody, Sort, SortField
from kissvdb.api.documents.projection import Projection
from kissvdb.api.frame import limits
from kissvdb.core.find import Place, SortKey
from kissvdb.errors import InvalidArgument

SORT_FIELDS_MAX = 8
FIELDS_MAX = 256
FACETS_MAX = 16
FACET_VALUES_DEFAULT = 10
FACET_VALUES_MAX = 1000
FIELD_BYTES_MAX = 256

_json = msgspec.json.encode


def sort_keys(sort: Sort | None, where: str = "body.sort") -> tuple[SortKey, ...]:
    """The keys of an order. Raises InvalidArgument."""
    if sort is None or sort == "":
        return ()
    asked: Sequence[str | SortField] = sort.split(",") if isinstance(sort, str) else sort
    if len(asked) > SORT_FIELDS_MAX:
        raise InvalidArgument(f"{where}: at most {SORT_FIELDS_MAX} fields, not {len(asked)}")
    keys = []
    for place, each in enumerate(asked):
        at = where if isinstance(sort, str) else f"{where}[{place}]"
        if isinstance(each, str):
            each = _short(each.strip() if isinstance(sort, str) else each, at)
        check_field(each.field, at)
        keys.append(SortKey(each.field, each.order == "desc", each.missing == "first"))
    return tuple(keys)


def _short(text: str, at: str) -> SortField:
    name, colon, order = text.rpartition(":")
    if colon and order.lower() in ("asc", "desc"):
        sign = "-" if order.lower() == "desc" else ""
        raise InvalidArgument(
            f'{at}: {text[:100]!r} would be a field of that name: write "{sign}{name[:100]}" to '
            'sort by it, or {"field": ...} if it is the name'
        )
    if text[:1] in ("-", "+"):
        return SortField(text[1:], "desc" if text[0] == "-" else "asc")
    return SortField(text)


def projection(fields: Fields | None, where: str = "body.fields") -> Projection | None:
    """Which part of documents; None for the whole. Raises InvalidArgument."""
    if fields is None or fields == []:
        return None
    if isinstance(fields, FieldsBody):
        include, exclude = fields.include, fields.exclude or []
    else:
        include = [each for each in fields if not each.startswith("-")] or None
        exclude = [each[1:] for each in fields if each.startswith("-")]
    paths = [*(include or ()), *exclude]
    if len(paths) > FIELDS_MAX:
        raise InvalidArgument(f"{where}: at most {FIELDS_MAX} fields, not {len(paths)}")
    for path in paths:
        check_field(path, where)
    return Projection(None if include is None else tuple(include), tuple(exclude))


def facet_wishes(facets: Facets | None, where: str = "body.facets") -> dict[str, int]:
    """Of which fields how many values are wanted. Raises InvalidArgument."""
    if facets is None:
        return {}
    wishes = facets if isinstance(facets, dict) else dict.fromkeys(facets, FACET_VALUES_DEFAULT)
    if len(wishes) > FACETS_MAX:
        raise InvalidArgument(f"{where}: at most {FACETS_MAX} fields, not {len(wishes)}")
    for path, want in wishes.items():
        check_field(path, where)
        if not 1 <= want <= FACET_VALUES_MAX:
            raise InvalidArgument(
                f"{where}.{path[:100]}: must be 1 to {FACET_VALUES_MAX} values, not {want}"
            )
    return wishes


def check_field(path: str, where: str) -> None:
    """Raises InvalidArgument unless it has 1 to FIELD_BYTES_MAX bytes."""
    if not 0 < limits.utf8_length(path) <= FIELD_BYTES_MAX:
        raise InvalidArgument(f"{where}: a field's name must have 1 to {FIELD_BYTES_MAX} bytes")


def cursor_of(place: Place, keys: Sequence[SortKey]) -> str:
    """What a client sends to go on behind a place."""
    text = _json([_signature(keys), list(place.values), place.id])
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def place_of(
    cursor: str | None, keys: Sequence[SortKey], where: str = "body.cursor"
) -> Place | None:
    """The place a cursor stands for. Raises InvalidArgument for what no page answered."""
    if not cursor:
        return None
    try:
        text = urlsafe_b64decode((cursor + "=" * (-len(cursor) % 4)).encode("ascii"))
        signature, values, id_ = msgspec.json.decode(text, type=tuple[list[Any], list[Any], str])
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        raise InvalidArgument(f"{where}: not one that a find answered") from None
    if signature != _signature(keys):
        raise InvalidArgument(
            f"{where}: is of a find in another order: send the sort that it began with, or begin "
            "without a cursor"
        )
    if len(values) != len(keys) or not all(map(_is_told, values)):
        raise InvalidArgument(f"{where}: not one that a find answered")
    return Place(tuple(values), id_)


def _signature(keys: Sequence[SortKey]) -> list[Any]:
    return [[key.path, key.descending, key.nothing_first] for key in keys]


def _is_told(value: Any) -> bool:
    return value in ([], {}) or not isinstance(value, list | dict)
