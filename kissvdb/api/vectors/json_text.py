"""Vectors and hits as JSON text. Numbers cost the most to print: vectors are for a thread."""

from collections.abc import Callable
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


More = Callable[[int, int], bytes]
"""Of a hit's place and its row."""


class Hits:
    """The hits of one answer, as arrays of JSON."""

    def __init__(self, view: "RowsView", *, meta: bool, vector: bool, text: bool = False) -> None:
        self._view = view
        self._meta = meta
        self._vector = vector
        self._text = text
        self._room = HITS_BYTES_MAX

    def array(self, found: "Found", more: "More | None" = None) -> bytes:
        """An array of hits. Scores print as the shortest decimals of their float32. ``more``: the
        further members of the hit at a place, each behind a comma.

        Raises PayloadTooLarge, as ``fitting``.
        """
        if not len(found):
            return b"[]"
        scores = json_numbers(found.scores.astype("<f4", copy=False))[1:-1].split(b",")
        texts = []
        for place, row in enumerate(found.rows.tolist()):
            texts.append(self.fitting(self._hit(found.ids[place], scores[place], row, place, more)))
        return b"[%b]" % b",".join(texts)

    def fitting(self, text: bytes) -> bytes:
        """A part of the answer. Raises PayloadTooLarge when all parts together are over
        HITS_BYTES_MAX: a search has no next page to hand the rest out with."""
        self.make_room(len(text))
        return text

    def make_room(self, size: int) -> None:
        """As ``fitting``, for a part of so many bytes."""
        self._room -= size
        if self._room < 0:
            raise PayloadTooLarge(
                f"the answer would be over {HITS_BYTES_MAX} bytes: ask for fewer hits, send fewer "
                "vectors at once, or leave out include_vector or include_meta"
            )

    def _hit(self, id_: str, score: bytes, row: int, place: int, more: "More | None") -> bytes:
        end = b"" if more is None else more(place, row)
        if not (self._meta or self._vector or self._text):
            return b'{"id":%b,"score":%b,"meta":null%b}' % (_json(id_), score, end)
        whole = self._view.stored(row)
        parts = [b'{"id":%b,"score":%b,"meta":' % (_json(id_), score)]
        parts.append(_meta(whole) if self._meta else b"null")
        if self._text:
            parts.append(_text(whole))
        if self._vector:
            parts.append(b',"vector":' + json_numbers(whole.vector))
        return b"".join([*parts, end, b"}"])


def stored(row: "StoredRow") -> bytes:
    """The answer of get."""
    return b'{"id":%b,"vector":%b,"meta":%b,"expires_at_ms":%b%b}' % (
        _json(row.id),
        json_numbers(row.vector),
        _meta(row),
        _json(row.expires_at_ms),
        _text(row),
    )


def item(row: "StoredRow", *, meta: bool, vector: bool, text: bool) -> bytes:
    """One item of a page."""
    parts = [b'{"id":%b,"meta":%b' % (_json(row.id), _meta(row) if meta else b"null")]
    if text:
        parts.append(_text(row))
    if vector:
        parts.append(b',"vector":' + json_numbers(row.vector))
    return b"".join([*parts, b"}"])


def _meta(row: "StoredRow") -> bytes:
    return b"null" if row.meta is None else row.meta


def _text(row: "StoredRow") -> bytes:
    """The member that has the text; nothing where there is none."""
    return b"" if row.text is None else b',"text":' + _json(row.text)
