"""What is searched on the event loop is short, however few numbers a vector has."""

import numpy as np
import pytest

from kissvdb.api.vectors import search
from kissvdb.api.vectors.search_requests import Asked
from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.search import Search
from tests.core.row_world import World, compiled


@pytest.mark.parametrize(("rows", "quick"), [(1000, True), (1400, False)])
def test_a_scan_of_many_short_rows_is_not_quick(monkeypatch, rows, quick):
    monkeypatch.setattr(search, "QUICK_SCANNED_NUMBERS_MAX", 20_000)
    here = World(CollectionSpec("c", 2, "l2", index="flat"), compiled())
    vectors = np.random.default_rng(1).standard_normal((rows, 2)).astype("<f4")
    here.upsert({f"v{n}": each for n, each in enumerate(vectors)})
    asked = Asked(Search(10), meta=False, vector=False, text=False)
    assert search._is_quick(asked, here.view()) is quick
