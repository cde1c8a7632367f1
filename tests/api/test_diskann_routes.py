"""The seed's routes of a graph on disk, on a server with compiled kernels, and without."""

import httpx
import numpy as np
import pytest

from kissvdb.cli import main
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.api.vector_client import Collection, refused
from tests.core.row_world import compiled
from tests.patience import PATIENCE_SECS

DIM = 24


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # If the server had to compile, the first to ask for a graph would wait for minutes.
    compiled()
    config = Config(
        server=Server(port=0),
        storage=Storage(data_dir=str(tmp_path_factory.mktemp("data"))),
        search=Search(disk_max_degree=24, disk_list_size=48),
    )
    with serve(config) as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        yield http


def filled(http, count, **index):
    here = Collection(http, DIM, "l2", **({"index": index} if index else {}))
    vectors = np.random.default_rng(1).standard_normal((count, DIM)).round(3).tolist()
    items = [{"id": f"n{n:04}", "vector": each} for n, each in enumerate(vectors)]
    here.ok("upsert_batch", {"items": items})
    return here, vectors


def status(http, here):
    return http.get(f"{here.url}/diskann/status").json()


@pytest.mark.slow
def test_a_collection_of_another_kind_gets_a_graph_on_disk(http):
    here, vectors = filled(http, 250)
    before = status(http, here)
    assert (before["available"], before["last_built_ms"], before["graph_files"]) == (False, None, 0)
    done = here.ok("diskann/build", {"max_degree": 40, "build_threads": 2, "search_list_size": 80})
    asked = {"max_degree": 40, "build_threads": 2, "search_list_size": 80}
    assert (done["ok"], done["params"]) == (True, asked)
    assert done["status"] == status(http, here)
    assert (done["status"]["available"], done["status"]["graph_files"]) == (True, 1)
    assert done["status"]["last_built_ms"] > 1_600_000_000_000
    assert done["status"]["params"]["max_degree"] == 40
    detail = http.get(here.url).json()
    assert detail["index"]["kind"] == "vamana"
    assert (detail["count"], detail["tail"]) == (250, 0)
    assert here.ids(vector=vectors[7], k=1) == ["n0007"]


@pytest.mark.slow
def test_what_was_written_since_is_in_the_graph_after_a_build(http):
    here, vectors = filled(http, 40, kind="vamana")
    assert not status(http, here)["available"]
    here.ok("diskann/build", {})
    assert http.get(here.url).json()["tail"] == 0
    here.upsert("new", *vectors[0])
    assert http.get(here.url).json()["tail"] == 1
    built = here.ok("diskann/build", {})["status"]
    assert built["available"]
    assert http.get(here.url).json()["tail"] == 0
    assert set(here.ids(vector=vectors[0], k=2)) == {"n0000", "new"}


@pytest.mark.slow
def test_searches_are_told_to_keep_more_in_view(http):
    here, vectors = filled(http, 30, kind="vamana", search_list_size=32)
    refused(Collection(http, 2).post("diskann/tune", {}), 422, "invalid_argument", "diskann/build")
    done = here.ok("diskann/tune", {"search_list_size": 200, "max_degree": 2000})
    assert done["params"]["search_list_size"] == 200
    assert done["params"]["max_degree"] == 1024, "brought into bounds, and the graph stays"
    assert done["status"]["params"]["max_degree"] == 32
    assert http.get(here.url).json()["index"]["search_list_size"] == 200
    assert here.ids(vector=vectors[3], k=1) == ["n0003"]


@pytest.mark.slow
def test_what_is_not_said_is_as_configured_and_brought_into_bounds(http):
    here, _ = filled(http, 3)
    assert status(http, here)["params"]["max_degree"] == 24
    done = here.ok("diskann/build", {"build_threads": -3})
    assert done["params"] == {"max_degree": 24, "build_threads": 1, "search_list_size": 48}
    refused(here.post("diskann/build", {"max_degre": 3}), 422, "invalid_argument", "max_degree")
    refused(here.post("diskann/build", {"max_degree": "3"}), 422, "invalid_argument", "max_degree")
    refused(http.get("/v1/vector/none/diskann/status"), 404, "not_found")
    refused(http.post("/v1/vector/none/diskann/build", json={}), 404, "not_found")


@pytest.mark.slow
def test_an_empty_collection_has_nothing_to_build(http):
    here = Collection(http, DIM)
    assert here.ok("diskann/build", {})["status"]["available"] is False


@pytest.mark.slow
def test_the_commands_ask_the_server(http, server, capsys):
    here, _ = filled(http, 5)
    asked = ["--collection", here.name, "--url", server.url]
    assert main(["diskann", "build", *asked, "--max-degree", "16", "--search-list", "70"]) == 0
    assert '"max_degree":16' in capsys.readouterr().out
    assert main(["diskann", "tune", *asked, "--search-list", "71"]) == 0
    capsys.readouterr()
    assert main(["diskann", "status", *asked]) == 0
    assert '"search_list_size":71' in capsys.readouterr().out
    assert main(["diskann", "status", "--collection", "none", "--url", server.url]) == 1
    assert "none" in capsys.readouterr().err


def test_without_compiled_kernels_nothing_is_built_and_all_is_found():
    config = Config(
        server=Server(port=0), storage=Storage(memory=True), search=Search(compile=False)
    )
    with serve(config) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        here, vectors = filled(http, 20)
        refused(here.post("diskann/tune", {}), 422, "invalid_argument", "diskann/build")
        refused(http.post(f"{here.url}/diskann/tune"), 422, "invalid_argument", "diskann/build")
        refused(here.post("diskann/build", {"max_degre": 3}), 422, "invalid_argument", "max_degree")
        assert http.post(f"{here.url}/diskann/build").json()["status"]["available"] is False
        answer = here.post("search", {"vector": vectors[5], "beam_width": 4})
        refused(answer, 422, "invalid_argument", "beam_width")
        assert "mean emit" not in answer.json()["message"], "nobody meant that"
        wide = {"vector": vectors[5], "k": 1, "search_list_size": 65_535}
        assert here.ids(**wide) == ["n0005"]
        refused(here.post("search", {**wide, "search_list_size": 65_536}), 400, "invalid_argument")
        assert here.ids(vector=vectors[5], k=1) == ["n0005"]
