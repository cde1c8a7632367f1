"""Our kinds of index, through the rows that the server has: written, grown, stored, opened again.

No log and no server: what is built is what upkeep builds, in the same portions.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.scale_parts.made import K, Made, blocks
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.owner import Rows
from kissvdb.core.store.id_map import SALT_BYTES
from kissvdb.core.store.spec import INDEX_KINDS, CollectionSpec
from kissvdb.records import VectorWritten
from kissvdb.storage.rows import files
from kissvdb.storage.rows.arrays import RowArrays

NAME = "scale"


class Ours:
    """One kind of index of ours with its defaults, cosine."""

    package = "kissvdb"
    settings = "defaults"

    def __init__(self, kind: str) -> None:
        if kind not in INDEX_KINDS:
            raise RuntimeError(f"there is no kind {kind!r} yet")
        self._kind = kind
        self.on_disk = kind == "vamana"
        self.efforts: Sequence[int] = ()
        self._kernels = Kernels()
        self._kernels.load()

    def build(self, made: Made, directory: Path) -> None:
        """As ``Contender.build``."""
        spec = CollectionSpec(NAME, made.base.shape[1], "cosine", index=self._kind)
        space = RowArrays(directory, 1)
        rows = Rows(spec, os.urandom(SALT_BYTES), self._kernels, space)
        row = 0
        for block in blocks(made.base):
            changes = [
                VectorWritten("added", NAME, str(row + place), vector.tobytes())
                for place, vector in enumerate(block)
            ]
            rows.apply_all(list(enumerate(changes, row + 1)))
            row += len(changes)
        while (work := rows.work_due()) is not None:
            work.run()
            rows.install(work)
        checkpoint = rows.checkpoint()
        checkpoint.run()
        files.save(directory, space, checkpoint.manifest, checkpoint.indexes)
        rows.install(checkpoint)

    def open(self, directory: Path) -> None:
        """As ``Contender.open``."""
        found = files.open_directory(directory)
        rows, warnings = Rows.opened(
            found.manifest,
            found.indexes,
            found.damaged,
            found.arrays,
            os.urandom(SALT_BYTES),
            self._kernels,
        )
        if warnings:
            raise RuntimeError("; ".join(warnings))
        self._view = rows.view(0)
        self.efforts = self._view.index.effort_ladder(K) or [0]

    def search(self, queries: Any, effort: int) -> Any:
        """As ``Contender.search``: an index searches, and the tail behind it, which is short."""
        view = self._view
        prepared = self._kernels.prepared(queries, view.spec.metric)
        plan = view.index.plan(K, effort, None)
        return view.index.search(view.data, prepared, K, plan, None, may_scan=True)[0][:, :K]
