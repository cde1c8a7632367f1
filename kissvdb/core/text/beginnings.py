"""Which terms have a word that begins so: of all fields in one scan of the vocabulary."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.vocabulary import Vocabulary

KEPT = 32

Array = npt.NDArray[Any]


class Beginnings:
    """What was asked of one view, which comes again: in each field, and when a page is turned."""

    def __init__(self, vocabulary: Vocabulary, entries: int) -> None:
        """``entries``: so many of the vocabulary the view knows."""
        self._vocabulary = vocabulary
        self._entries = entries
        self._known: dict[str, tuple[Array, Array]] = {}

    def terms(self, engine: Any, field: int, beginning: str) -> list[int]:
        """The terms of a field with such a word, ascending. ``engine``: ``postings.plain`` or
        compiled."""
        known = self._known.get(beginning)
        if known is None:
            vocabulary = self._vocabulary
            entries = engine.words_with(
                vocabulary.blob, vocabulary.ends, self._entries, beginning.encode()
            )
            terms = np.unique(vocabulary.values[entries])
            known = vocabulary.fields[terms], terms
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[beginning] = known
        fields, terms = known
        found: list[int] = terms[fields == field].tolist()
        return found
