"""The text index of rows: it comes to be with the first text, so rows without cost nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.core.index.kernels import Kernels
from kissvdb.core.metadata.flat import Flat
from kissvdb.core.store.space import Row, RowData
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.fields import TEXT_FIELD, is_searched, texts_of
from kissvdb.core.text.index import TextIndex, TextView
from kissvdb.core.text.lexicon import TextRow, Texts

ROWS_AT_ONCE = 256
_NONE: Texts = ()


class RowTexts:
    """The writer's side; one thread."""

    def __init__(
        self, spec: CollectionSpec, kernels: Kernels, index: TextIndex | None = None
    ) -> None:
        """``index``: that of the rows there are; None while none has a text."""
        self.index = index
        self._spec = spec
        self._settings = spec.text_settings
        self._kernels = kernels

    def view(self) -> TextView | None:
        """The texts of all rows added so far; None while no row had one."""
        return None if self.index is None else self.index.view()

    def extend(self, first: int, rows: Sequence[Row], documents: Sequence[Any]) -> None:
        """Add the texts of rows that follow; ``documents``: their metadata, decoded."""
        if self._spec.holds_documents:
            self._extend(first, [_with_fields(each) for each in documents])
        elif self.index is not None or any(row.text for row in rows):
            self._extend(first, [_texts(row.text) for row in rows])

    def extend_by(self, first: int, rows: Sequence[Row], flat: Flat) -> None:
        """As ``extend``; ``flat``: their metadata, taken apart."""
        if not self._spec.holds_documents:
            self.extend(first, rows, ())
            return
        if self.index is None:
            fields = np.unique(flat.strings.fields).tolist()
            if not any(is_searched(flat.paths[field], self._settings) for field in fields):
                return
            self.index = self._empty(first)
        self.index.extend_by(first, flat)

    def extend_without(self, first: int, count: int) -> None:
        """Add so many rows of vectors, which have no text."""
        if self.index is not None:
            self.index.extend(first, [_NONE] * count)

    def extend_from(self, first: int, data: RowData, rows: npt.NDArray[np.int64]) -> None:
        """Add the texts of stored rows, as if they were new."""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE].tolist()
            if self._spec.holds_documents:
                texts: list[TextRow] = [_with_fields(data.document(row)) for row in part]
            else:
                texts = [_texts(data.text(row)) for row in part]
            self._extend(first + start, texts)

    def _extend(self, first: int, texts: Sequence[TextRow]) -> None:
        if self.index is None:
            if not any(map(self._has_text, texts)):
                return
            self.index = self._empty(first)
        self.index.extend(first, texts)

    def _empty(self, rows: int) -> TextIndex:
        """The index of so many rows without texts."""
        index = TextIndex(self._settings, self._kernels)
        index.extend(0, [_NONE] * rows)
        return index

    def _has_text(self, row: TextRow) -> bool:
        return bool(texts_of(row, self._settings) if isinstance(row, dict) else row)


def _with_fields(document: Any) -> TextRow:
    return document if type(document) is dict else _NONE


def _texts(text: str | None) -> Texts:
    return ((TEXT_FIELD, text),) if text else _NONE
