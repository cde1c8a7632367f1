"""schemathesis reads the served description and attacks a real server with it: every answer
must be a documented one in its documented shape, and none a 5xx."""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from kissvdb.api.description.openapi import description
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config, Server, Storage
from kissvdb.testing import serve
from tests.api import serializers
from tests.patience import PATIENCE_SECS

CHECKS = (
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.unsupported_method,
    openapi_checks.missing_required_header,
)
assert serializers.REGISTERED

STREAMS = {"get_v1_stream", "get_v1_events"}

DESCRIPTION = description(ROUTES)
described = schemathesis.openapi.from_dict(DESCRIPTION)
finite = described.exclude(operation_id=sorted(STREAMS))
endless = described.include(operation_id=sorted(STREAMS))


def attack(examples):
    """The seed is fixed so that a failing default run fails again."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples < 100,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """On disk: in memory a backup answers 501, which is documented, but a 5xx all the same."""
    storage = Storage(data_dir=str(tmp_path_factory.mktemp("data")))
    with serve(Config(server=Server(port=0), storage=storage)) as server:
        yield server.url


def check(case, url):
    if "min_offset" in (case.query or {}):
        # A far one is waited for, and is a 503.
        case.query["min_offset"] = 0
    case.call_and_validate(base_url=url, checks=CHECKS, timeout=PATIENCE_SECS)


def check_head_of_stream(case, url):
    """A stream that is accepted never ends, so only how it starts is looked at."""
    case.query = {**(case.query or {}), "min_offset": 0}
    operation = DESCRIPTION["paths"][case.operation.path].get(case.method.lower())
    request = case.as_transport_kwargs(base_url=url)
    with requests.request(**request, stream=True, timeout=PATIENCE_SECS) as answer:
        if operation is None:
            assert answer.status_code == (204 if case.method == "OPTIONS" else 405)
            return
        assert str(answer.status_code) in operation["responses"]
        assert answer.status_code < 500
        media = "text/event-stream" if answer.status_code == 200 else "application/json"
        assert answer.headers["content-type"] == media


@finite.parametrize()
@attack(5)
def test_every_answer_is_documented(case, url):
    check(case, url)


@endless.parametrize()
@attack(5)
def test_every_stream_starts_as_documented(case, url):
    check_head_of_stream(case, url)


@pytest.mark.slow
@finite.parametrize()
@attack(1000)
def test_every_answer_is_documented_in_a_long_attack(case, url):
    check(case, url)
