"""Vectors and hits as JSON text. Numbers cost the most to print: vectors are for a thread."""

from typing import TYPE_CHECKING

import msgspec

from kissvdb.core.row_numbers import json_numbers

if TYPE_CHECKING:
    from kissvdb.core.row_search import Hits
    from kissvdb.core.row_spec import StoredRow
    from kissvdb.core.row_view import RowsView

_json = msgspec.json.encode


def stored(row: "StoredRow") -> bytes:
    """The answer of get."""
    return b'{"id":%b,"vector":%b,"meta":%b,"expires_at_ms":%b}' % (
        _json(row.id),
        json_numbers(row.vector),
        _meta(row),
        _json(row.expires_at_ms),
    )


def item(row: "StoredRow", *, meta: bool, vector: bool) -> bytes:
    """One item of a page."""
    parts = [b'{"id":%b,"meta":%b' % (_json(row.id), _meta(row) if meta else b"null")]
    if vector:
        parts.append(b',"vector":' + json_numbers(row.vector))
    return b"".join([*parts, b"}"])


def hits(view: "RowsView", found: "Hits", *, meta: bool, vector: bool) -> bytes:
    """An array of hits. Scores print as the shortest decimals of their float32."""
    if not len(found):
        return b"[]"
    scores = json_numbers(found.scores)[1:-1].split(b",")
    texts = []
    for id_, score, row in zip(found.ids, scores, found.rows.tolist(), strict=True):
        if not (meta or vector):
            texts.append(b'{"id":%b,"score":%b,"meta":null}' % (_json(id_), score))
            continue
        whole = view.stored(row)
        end = b',"vector":%b}' % json_numbers(whole.vector) if vector else b"}"
        text = _meta(whole) if meta else b"null"
        texts.append(b'{"id":%b,"score":%b,"meta":%b%b' % (_json(id_), score, text, end))
    return b"[%b]" % b",".join(texts)


def _meta(row: "StoredRow") -> bytes:
    return b"null" if row.meta is None else row.meta
