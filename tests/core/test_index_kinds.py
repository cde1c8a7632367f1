"""Every kind of index does what rows ask of it, and rows know nothing of the kinds."""

from typing import ClassVar

import attrs
import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.index.index import TIES_SPARE, Index, Plan
from kissvdb.core.index.kinds import KINDS
from kissvdb.core.rows.owner import POLICY, CollectionSpec, Rows
from kissvdb.core.rows.rules import Delete
from kissvdb.core.search import Search
from kissvdb.core.store.options import IndexOptions
from kissvdb.core.store.spec import INDEX_KINDS
from tests.core.row_world import SALT, World, clusters, compiled

DIM = 16


@attrs.frozen(eq=False)
class Halves(Index):
    """An index of no use: it covers what it was grown over, by scanning it."""

    name: ClassVar[str] = "halves"
    precision: ClassVar[str] = "none"
    nbytes: ClassVar[int] = 0

    kernels: object
    size: int = 0

    @classmethod
    def new(cls, spec, kernels):
        return cls(kernels)

    def due(self, rows, policy):
        return rows // 2 if rows - self.size >= policy.drain_rows_min else self.size

    def grow(self, data, last, space, training_rows=None):
        return attrs.evolve(self, size=last)

    def cost(self, want, ef):
        return self.size

    def plan(self, want, ef, allow):
        return Plan("halves")

    def search(self, data, queries, want, plan, allow, *, may_scan):
        return self.kernels.scan_rows(
            data.vectors, data.metric, queries, want + TIES_SPARE, 0, self.size, allow
        )

    def emptied(self):
        return attrs.evolve(self, size=0)

    def to_fields(self):
        return {"size": self.size} if self.size else None

    def to_arrays(self):
        return {"size": np.array([self.size])} if self.size else {}

    def from_arrays(self, fields, arrays, sums, data, space):
        assert fields["size"] == arrays["size"][0] <= data.count
        return attrs.evolve(self, size=fields["size"])


@pytest.fixture(scope="module")
def kernels():
    return compiled()


@pytest.fixture(params=[*KINDS, "another"])
def kind(request, monkeypatch):
    if request.param in KINDS:
        return request.param
    monkeypatch.setitem(KINDS, "flat", Halves)
    return "flat"


def test_every_kind_can_be_asked_for():
    assert set(KINDS) == set(INDEX_KINDS)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_rows_are_found_indexed_or_not_vacuumed_and_opened_again(kernels, kind, metric):
    here = World(CollectionSpec("c", DIM, metric, index=kind), kernels)
    vectors = clusters(1, 2 * POLICY.body_rows_min, DIM)
    meta = {f"v{n}": b'{"n":%d}' % n for n in range(len(vectors))}
    here.upsert({f"v{n}": each for n, each in enumerate(vectors)}, meta)
    check(here, vectors)
    here.upkeep()
    check(here, vectors)
    here.run(*(Delete(f"v{n}") for n in range(0, len(vectors), 2)))
    here.upkeep()
    assert here.view().statistics().deleted_rows == 0
    check(here, vectors[1::2])
    assert here.view().indexed_rows > 0 or (kind == "flat" and KINDS[kind] is not Halves)
    work = here.rows.checkpoint()
    work.run()
    opened, warnings = Rows.opened(
        work.manifest, work.indexes, {}, here.rows.space, SALT, here.kernels
    )
    assert warnings == []
    assert opened.view(here.now_ms).indexed_rows == here.view().indexed_rows
    here.rows.install(work)
    again = World(here.spec, kernels, opened, here.log, here.model, here.now_ms)
    check(again, vectors[1::2])


def check(here, vectors):
    tree = filters.parse({"n": {"$lt": 900}})
    for search in (Search(10), Search(10, tree=tree), Search(5, offset=5)):
        assert here.view().audit(vectors[:20] + np.float32(0.01), search) >= 0.97
    here.check(vectors[3], 12)


def test_what_an_index_was_told_is_in_the_record_and_the_manifest():
    options = IndexOptions(nprobe=7, ef_search=50, store="f16")
    spec = CollectionSpec("c", 3, "cosine", options=options)
    assert CollectionSpec.of_record(spec.record()) == spec
    assert CollectionSpec.of_fields(spec.to_fields()) == spec
    assert "options" not in CollectionSpec("c", 3, "cosine").to_fields(), "older versions read it"


@pytest.mark.parametrize(("kind", "usual"), [("hnsw", 64), ("ivf", 96), ("vamana", 64)])
def test_while_all_codes_are_scanned_no_effort_below_the_usual_is_on_the_ladder(
    kernels, kind, usual
):
    # It would find all now, be set by tuning, and find little when there are more rows.
    here = World(CollectionSpec("c", DIM, "cosine", index=kind), kernels)
    here.upsert({f"v{n}": each for n, each in enumerate(clusters(1, 1500, DIM))})
    here.upkeep()
    index = here.view().index
    assert index.plan(10, 1, None).name == "code scan"
    ladder = index.effort_ladder(10)
    assert ladder == sorted(ladder)
    assert ladder[0] == usual
