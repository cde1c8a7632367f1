"""Vectors and hits as JSON text. Numbers cost the most to print: vectors are for a thread."""

from typing import TYPE_CHECKING

import msgspec

from kissvdb.core.vector_json import json_numbers
from kissvdb.errors import PayloadTooLarge

if TYPE_CHECKING:
    from kissvdb.core.rows.search import Hits as Found
    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.store.spec import StoredRow

_json = msgspec.json.encode

HITS_BYTES_MAX = 8 * 1024 * 1024
"""No answer's hits take more."""


class Hits:
    """The hits of one answer, as arrays of JSON."""

    def __init__(self, view: "RowsView", *, meta: bool, vector: bool) -> None:
        self._view = view
        self._meta = meta
        self._vector = vector
        self._room = HITS_BYTES_MAX

    def array(self, found: "Found") -> bytes:
        """An array of hits. Scores print as the shortest decimals of their float32.

        Raises PayloadTooLarge, as ``fitting``.
        """
        if not len(found):
            return b"[]"
        scores = json_numbers(found.scores)[1:-1].split(b",")
        texts = []
        for id_, score, row in zip(found.ids, scores, found.rows.tolist(), strict=True):
            texts.append(self.fitting(self._hit(id_, score, row)))
        return b"[%b]" % b",".join(texts)

    def fitting(self, text: bytes) -> bytes:
        """A part of the answer. Raises PayloadTooLarge when all parts together are over
        HITS_BYTES_MAX: a search has no next page to hand the rest out with."""
        self._room -= len(text)
        if self._room < 0:
            raise PayloadTooLarge(
                f"the answer would be over {HITS_BYTES_MAX} bytes: ask for fewer hits, send fewer "
                "vectors at once, or leave out include_vector or include_meta"
            )
        return text

    def _hit(self, id_: str, score: bytes, row: int) -> bytes:
        if not (self._meta or self._vector):
            return b'{"id":%b,"score":%b,"meta":null}' % (_json(id_), score)
        whole = self._view.stored(row)
        end = b',"vector":%b}' % json_numbers(whole.vector) if self._vector else b"}"
        text = _meta(whole) if self._meta else b"null"
        return b'{"id":%b,"score":%b,"meta":%b%b' % (_json(id_), score, text, end)


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


def _meta(row: "StoredRow") -> bytes:
    return b"null" if row.meta is None else row.meta
