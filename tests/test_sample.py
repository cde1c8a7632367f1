"""The sample of real data in scripts/sample, and the tour of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve

SAMPLE = Path(__file__).resolve().parents[1] / "scripts" / "sample"
BYTES_MAX = 2_000_000
TOUR_SECONDS_MAX = 120


@pytest.fixture
def sample(monkeypatch):
    monkeypatch.syspath_prepend(str(SAMPLE))
    import sample

    return sample


def test_the_sample_is_small_and_says_its_licence():
    assert sum(file.stat().st_size for file in SAMPLE.glob("*.*")) <= BYTES_MAX
    assert "Licence" in (SAMPLE / "LICENSE.txt").read_text()


def test_the_sample_loads_and_its_queries_find_what_they_are_about(sample):
    config = Config(
        server=Server(port=0), storage=Storage(memory=True), search=Search(compile=False)
    )
    with serve(config) as running:
        server = sample.Server(running.url)
        count, _ = sample.load(server)
        assert count == len(sample.packages()) == server.call("GET", "/v1/vector/debian")["count"]
        asked = sample.queries()
        raw = np.stack([vector for _, _, vector in asked]).tobytes()
        path = "/v1/vector/debian/search_batch?k=10"
        answer = server.call("POST", path, raw, "application/octet-stream")
        found = [
            package in [hit["id"] for hit in result["hits"]]
            for (_, package, _), result in zip(asked, answer["results"], strict=True)
        ]
    assert sum(found) >= 0.8 * len(found)


@pytest.mark.slow
def test_the_tour_ends_well():
    done = subprocess.run(
        [sys.executable, str(SAMPLE / "demo.py")], capture_output=True, timeout=TOUR_SECONDS_MAX
    )
    assert done.returncode == 0, done.stderr
    assert b"a search answers the same: True" in done.stdout
