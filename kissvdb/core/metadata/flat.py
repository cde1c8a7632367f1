"""Many documents at once, taken apart by compiled code: what columns and texts are made of.

Whoever loads documents writes many that are flat. To decode each of them into Python's objects,
to sort their values by field and to look at each of these costs some 3x as much as this.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.metadata.segment import Segment

Array = npt.NDArray[Any]

DOCUMENTS_MIN = 256
"""Fewer wait in the tail of the index as they are."""
BYTES_MAX = 16 * 1024 * 1024
"""Working memory is some 20x that of the documents, of which what is not used is never touched."""


@attrs.frozen(eq=False)
class Strings:
    """The strings of documents that are not empty, in their order: each one's document and field
    (a number of ``Flat.paths``), where it begins and ends in the text, int64[n]; bool[n], whether
    it has other characters than ASCII."""

    documents: Array
    fields: Array
    starts: Array
    ends: Array
    wide: Array

    def of(self, chosen: Array) -> "Strings":
        """Those that are chosen, bool[n]."""
        return Strings(*(each[chosen] for each in attrs.astuple(self, recurse=False)))


@attrs.frozen(eq=False)
class Flat:
    """Documents that are flat objects, or nothing at all: their columns and their strings.

    ``paths``: their fields, in the order they come. ``text``: uint8, all strings one after the
    other, in UTF-8.
    """

    row_count: int
    paths: Sequence[str]
    text: Array
    strings: Strings
    segment: Segment

    @property
    def strings_max(self) -> int:
        """How many strings a document has at most."""
        return int(np.bincount(self.strings.documents).max(initial=0))
