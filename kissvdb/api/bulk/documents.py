"""Documents that are put and say nothing else, as columns: most of what is loaded."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kissvdb.api.documents.texts import document_of
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX
from kissvdb.config import Limits
from kissvdb.core.state.put_many import DocumentNames, PutMany
from kissvdb.core.state.reserved_keys import document_prefix
from kissvdb.engine.vectors.model import check_name
from kissvdb.errors import KissError

_WRONG = (KissError, msgspec.MsgspecError, ValueError, RecursionError, TypeError)


class _Line(msgspec.Struct, tag_field="op", tag="doc_put", forbid_unknown_fields=True, gc=False):
    collection: str
    id: str
    doc: msgspec.Raw


_decode: Callable[[bytes], _Line] = msgspec.json.Decoder(_Line).decode


def is_put(line: object) -> bool:
    """Whether a line of a bulk body begins as those of documents that are put do."""
    return type(line) is bytes and line.startswith(b'{"op":"doc_put"')


def read(lines: Sequence[Any], limits: Limits) -> PutMany | None:
    """What lines of a bulk body ask for; None where they want to be looked at one by one: one says
    more, is wrong, or of another collection, or its id is not plain ASCII."""
    try:
        puts = list(map(_decode, lines))
        collection = puts[0].collection
        check_name(collection, limits)
        if {each.collection for each in puts} != {collection}:
            return None
        ids = [each.id for each in puts]
        sizes = set(map(len, ids))
        prefix = document_prefix(collection)
        longest = min(limits.id_bytes_max, limits.key_bytes_max - len(prefix))
        if not 0 < min(sizes) <= max(sizes) <= longest or not "".join(ids).isascii():
            return None
        values = _values([bytes(each.doc) for each in puts], limits)
    except _WRONG:
        return None
    return PutMany([prefix + id_ for id_ in ids], values, DocumentNames(collection, ids))


def _values(texts: list[bytes], limits: Limits) -> list[bytes]:
    """These documents as they are kept. Raises KissError."""
    if sum(map(len, texts)) <= INLINE_BYTES_MAX:
        return [document_of(text, limits, "doc") for text in texts]
    # Not on the event loop: numpy comes with it.
    from kissvdb.api.reading.plain_texts import plain_texts

    plain = plain_texts(texts, limits.document_fields_max, limits.document_depth_max)
    return [
        text
        if is_plain and len(text) <= limits.json_bytes_max
        else document_of(text, limits, "doc")
        for text, is_plain in zip(texts, plain, strict=True)
    ]
