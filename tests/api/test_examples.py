"""The examples of the description run as they stand, in order, on an empty server."""

import html
import re
import shutil
import subprocess

import pytest
import requests
import schemathesis
from schemathesis import checks
from schemathesis.generation.hypothesis.examples import generate_one
from schemathesis.specs.openapi import checks as openapi_checks

from kissvdb.api.bulk.handlers import NDJSON
from kissvdb.api.description.examples import TOUR, WORDS
from kissvdb.api.description.openapi import description
from kissvdb.api.description.pages import WEB
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.api import serializers
from tests.patience import PATIENCE_SECS

assert serializers.REGISTERED

# Nobody knows the id of a key before it is issued.
OF_A_KEY = {"POST /v1/auth/keys/{id}/rotate", "DELETE /v1/auth/keys/{id}"}
KEY = "s3cret"
DROPS = {"DELETE /v1/vector/{collection}", "DELETE /v1/doc/{collection}"}
STREAMS = {"get_v1_stream", "get_v1_events"}
CHECKS = (
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
)


@pytest.fixture
def url(tmp_path):
    """On disk, because a server in memory has no backup."""
    storage = Storage(data_dir=str(tmp_path / "data"))
    config = Config(server=Server(port=0), storage=storage, search=Search(compile=False))
    with serve(config) as server:
        yield server.url


@pytest.fixture
def guarded_url(tmp_path):
    """Of a server with a key, because another issues none."""
    storage = Storage(data_dir=str(tmp_path / "data"))
    server = Server(port=0, api_key=KEY)
    with serve(Config(server=server, storage=storage, search=Search(compile=False))) as served:
        yield served.url


def test_every_example_runs_as_it_stands(guarded_url):
    """Those that schemathesis' phase of examples finds, one after another."""
    schema = schemathesis.openapi.from_dict(description(ROUTES))
    ran, url, key = set(), guarded_url, {"x-api-key": KEY}
    operations = [result.ok() for result in schema.get_all_operations()]
    # One path is described in one place, but a collection goes last.
    for operation in sorted(operations, key=lambda each: each.label in DROPS):
        for strategy in operation.get_strategies_from_examples():
            case = generate_one(strategy)
            name = operation.definition.raw["operationId"]
            ran.add(name)
            if name in STREAMS:
                request = case.as_transport_kwargs(base_url=url)
                request["headers"].update(key)
                with requests.request(**request, stream=True, timeout=PATIENCE_SECS) as answer:
                    assert answer.status_code == 200
            else:
                answer = case.call_and_validate(
                    base_url=url, headers=key, checks=CHECKS, timeout=PATIENCE_SECS
                )
                expected = (404,) if operation.label in OF_A_KEY else (200, 202)
                assert answer.status_code in expected, (case.body, answer.text)
                assert '"error":{' not in answer.text
    assert ran == {route.operation_id for route in ROUTES if has_values(route)}


def has_values(route):
    """For lines of JSON schemathesis has no writer: theirs is in a command."""
    has_body = bool(route.body_media) and NDJSON not in route.body_media
    return bool(route.path_parameters or has_body or route.name in QUERIES)


QUERIES = {"GET /v1/state", "GET /v1/stream", "GET /v1/events", "GET /v1/vector/{collection}/get"}


def shell_blocks(text):
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_description_and_of_the_first_page_run_as_they_stand(url, tmp_path):
    page = (WEB / "index.html").read_text()
    shown = [html.unescape(block) for block in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    blocks = shell_blocks(TOUR) + [block for text in WORDS.values() for block in shell_blocks(text)]
    assert any("/v1/vector/" in block for block in shown)
    assert any("/v1/vector/" in block for block in shell_blocks(TOUR))
    assert {"GET /v1/stream", "GET /v1/events"} <= set(WORDS)
    # A stream is left once it has shown an event.
    script = """
    curl() {
      if [ "$1" != -N ]; then command curl -sS --fail-with-body "$@"; return; fi
      command curl -sS "$@" > shown &
      until grep -q '^data: ' shown; do sleep 0.05; done
      kill $!
      cat shown
    }
    set -e
    """
    script += "\n".join([*blocks, *shown])
    script = script.replace("localhost:9917", url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECS
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert '"hits":[{"id":"a","score":1.0,"meta":{"lang":"en","year":2024}}]' in done.stdout
    assert "event: state_updated" in done.stdout
    assert '"error"' not in done.stdout
