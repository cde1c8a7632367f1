"""The JSON text of a document: how it is checked on its way in."""

from typing import Any

import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.reading.json_body import compact
from kissvdb.config import Limits
from kissvdb.errors import InvalidArgument


def document_of(raw: bytes | msgspec.Raw, bounds: Limits, where: str) -> bytes:
    """A document, or a patch of one, as compact JSON. Raises InvalidArgument, and PayloadTooLarge
    when it is over json_bytes_max."""
    text = compact(raw, where)
    limits.check_json_size(text, bounds, where)
    # Every field has a colon, every level a bracket: most documents need no second look.
    if text.count(b":") > bounds.document_fields_max or _brackets(text) > bounds.document_depth_max:
        _check_shape(msgspec.json.decode(text), bounds, where)
    return text


def _brackets(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _check_shape(document: Any, bounds: Limits, where: str) -> None:
    fields, depth, level = 0, 0, [document]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        fields += sum(len(each) for each in level if isinstance(each, dict))
        level = [
            inner for each in level for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if fields > bounds.document_fields_max:
        raise InvalidArgument(
            f"{where}: {fields} fields, the limit is {bounds.document_fields_max}: split it over "
            "several documents, or raise limits.document_fields_max "
            "(KISSVDB_LIMITS_DOCUMENT_FIELDS_MAX)"
        )
    if depth > bounds.document_depth_max:
        raise InvalidArgument(
            f"{where}: nested {depth} levels deep, the limit is {bounds.document_depth_max}: "
            "flatten it, or raise limits.document_depth_max (KISSVDB_LIMITS_DOCUMENT_DEPTH_MAX)"
        )
