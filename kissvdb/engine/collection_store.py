"""The vector collections of a database, opened and recovered. Sync: for a thread."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from kissvdb.core.row_spec import CollectionSpec

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without vectors starts faster without.
    from kissvdb.core.row_index import Kernels
    from kissvdb.core.rows import Rows


@attrs.define(eq=False)
class StoredCollection:
    """A collection's rows, and up to which offset they are durable files."""

    rows: "Rows"
    durable_offset: int = 0


class CollectionStore:
    """All collections of a database, by name."""

    def __init__(self, directory: Path | None) -> None:
        self.collections: dict[str, StoredCollection] = {}
        self._directory = directory
        self._kernels: Kernels | None = None

    @property
    def kernels(self) -> "Kernels":
        """The compiled code that all collections share, once it is loaded."""
        if self._kernels is None:
            from kissvdb.core.row_index import Kernels

            self._kernels = Kernels(build_threads=max(1, (os.cpu_count() or 1) // 2))
        return self._kernels

    def create(self, spec: CollectionSpec) -> StoredCollection:
        """Make room for a collection that is about to be created. Raises OSError."""
        from kissvdb.core.id_map import SALT_BYTES
        from kissvdb.core.rows import Rows

        made = StoredCollection(Rows(spec, os.urandom(SALT_BYTES), self.kernels))
        self.collections[spec.name] = made
        return made

    def remove(self, name: str) -> None:
        """Remove what is left of a collection. Raises OSError."""
        self.collections.pop(name, None)
