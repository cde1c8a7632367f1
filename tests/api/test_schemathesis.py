"""schemathesis reads the served description and attacks a real server with it: every answer
must be a documented one in its documented shape, and none a 5xx."""

import functools
from collections import defaultdict

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation.drivers import CoverageGenerator
from schemathesis.generation.feedback import NO_FEEDBACK
from schemathesis.generation.overrides import Override
from schemathesis.specs.openapi import checks as openapi_checks

from kissvdb.api.description.openapi import description
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.kernels import warmup
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
# CPython 3.11 cannot make syntax trees in two threads at once. Kernels make theirs when they are
# imported: here, and not in the server's threads, beside Hypothesis, which makes some as well.
assert warmup

DESCRIPTION = description(ROUTES)
STREAMS = ["GET /v1/events", "GET /v1/stream"]
FINITE = [
    f"{method.upper()} {path}"
    for path, operations in DESCRIPTION["paths"].items()
    for method in operations
    if f"{method.upper()} {path}" not in STREAMS
]


@functools.cache
def described():
    """Made by the test that needs it: not by all that collect this file."""
    return schemathesis.openapi.from_dict(DESCRIPTION)


def operation_of(name):
    method, path = name.split(" ", 1)
    return described()[path][method.lower()]


def cases_of_rules(operation, each):
    """Schemathesis walks through the rules of the description (a type, a bound, a media type, a
    method): of all cases of one rule, ``each`` of them, first and last among them."""
    generation = described().config.generation_for(operation=operation, phase="coverage")
    cases = defaultdict(list)
    for case in CoverageGenerator(
        operation=operation,
        generation_modes=generation.modes,
        generation_config=generation,
        auth_storage=None,
        override=Override(),
        feedback=NO_FEEDBACK,
    ):
        cases[case.meta.phase.data.scenario].append(case)
    assert cases
    for alike in cases.values():
        last = len(alike) - 1
        for at in sorted({round(n * last / max(each - 1, 1)) for n in range(each)}):
            yield alike[at]


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
    # Compiled code is for the tests of kernels; here it would only take time.
    config = Config(server=Server(port=0), storage=storage, search=Search(compile=False))
    with serve(config) as server:
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


def run(name, url, ask, each, examples):
    operation = operation_of(name)
    for case in cases_of_rules(operation, each):
        ask(case, url)
    generation = described().config.generation_for(operation=operation, phase="fuzzing")
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in generation.modes])

    @attack(examples)
    @given(cases)
    def attacked(case):
        ask(case, url)

    attacked()


@pytest.mark.parametrize("name", FINITE)
def test_every_answer_is_documented(name, url):
    run(name, url, check, each=2, examples=5)


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_starts_as_documented(name, url):
    run(name, url, check_head_of_stream, each=2, examples=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINITE)
def test_every_answer_is_documented_in_a_long_attack(name, url):
    run(name, url, check, each=1000, examples=1000)
