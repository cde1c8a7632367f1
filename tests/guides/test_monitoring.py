"""What config/monitoring asks for is what a server says."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kissvdb.config import Audit, Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

FOLDER = Path(__file__).resolve().parents[2] / "config" / "monitoring"
PROMTOOL = shutil.which("promtool")
# Prometheus adds these to whatever it scrapes; "le" is what its histograms have.
ADDED = {"instance", "job", "le"}
ADDED_METRICS = {"up": set()}
METRIC = re.compile(r"\b(kissvdb_\w+|process_\w+|up)\b(\{[^}]*\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
BY = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")
SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


@pytest.fixture(scope="module")
def said():
    """Of a server in which something of everything has happened: samples by name, with the values
    of their labels."""
    config = Config(
        server=Server(port=0, api_key="the-key"),
        storage=Storage(memory=True),
        search=Search(compile=False),
        audit=Audit(enabled=True),
    )
    found = {}
    with (
        serve(config) as server,
        httpx.Client(
            base_url=server.url,
            headers={"authorization": "Bearer the-key"},
            timeout=PATIENCE_SECS,
        ) as http,
    ):
        assert http.get("/v1/state", headers={"authorization": "Bearer no"}).status_code == 401
        http.put("/v1/state/k", json={"value": 1}).raise_for_status()
        http.post("/v1/vector/places", json={"dim": 2}).raise_for_status()
        http.post("/v1/vector/places/upsert", json={"id": "a", "vector": [1, 0]}).raise_for_status()
        http.put("/v1/doc/books/1", json={"title": "Solaris"}).raise_for_status()
        http.post("/v1/doc/books/find", json={}).raise_for_status()
        with http.stream("GET", "/v1/stream?since=now") as stream:
            assert stream.status_code == 200
            text = http.get("/v1/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def alerts():
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels():
    return json.loads((FOLDER / "grafana.json").read_text())["panels"]


def check(expression, shown, said):
    """Every metric is one that a server has, every label one of that metric."""
    used = METRIC.findall(expression)
    assert used, expression
    allowed = set(ADDED)
    for name, matchers in used:
        labels = ADDED_METRICS.get(name) if name in ADDED_METRICS else said.get(name)
        assert labels is not None, f"no server has {name}: {expression}"
        for label, value in MATCHER.findall(matchers):
            assert label in set(labels) | ADDED, f"{name} has no label {label}"
            if label == "reason":
                assert value in labels[label], f"{name} has no {label} {value}"
        allowed |= set(labels)
    for names in BY.findall(expression):
        assert {name.strip() for name in names.split(",") if name.strip()} <= allowed, expression
    assert set(SHOWN.findall(shown)) <= allowed, f"{shown}: {expression}"


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule, said):
    check(rule["expr"], rule["annotations"]["summary"].replace("$value", ""), said)
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["description"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel, said):
    for target in panel["targets"]:
        check(target["expr"], target["legendFormat"], said)


def test_classes_of_status_are_written_as_the_server_does(said):
    classes = said["kissvdb_http_requests_total"]["status"]
    assert classes <= {f"{number}xx" for number in range(1, 6)}
    assert {"2xx", "4xx"} <= classes


def test_the_dashboard_is_whole():
    shown = json.loads((FOLDER / "grafana.json").read_text())
    assert len({panel["id"] for panel in shown["panels"]}) == len(shown["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in shown["panels"]]
    assert len(set(places)) == len(places)
    variables = {each["name"] for each in shown["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(shown["panels"])))
    assert used <= variables | {"__rate_interval"}


def test_prometheus_scrapes_the_route_there_is():
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("kissvdb", "/v1/metrics")
    assert {each for rule in alerts() for each in re.findall(r'job="(\w+)"', rule["expr"])} == {
        "kissvdb"
    }


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed here")
def test_promtool_takes_the_files(tmp_path):
    for path in FOLDER.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "kissvdb.key").write_text("a-key\n")
    for arguments in (["rules", "alerts.yml"], ["config", "prometheus.yml"]):
        done = subprocess.run(
            [PROMTOOL, "check", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
