"""One server for all suites of frameworks. Run by tests/integrations/test_suites.py, by itself."""

import itertools

import attrs
import pytest

from kissvdb.client import Client
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        search=attrs.evolve(Search(), compile=False),
    )
    with serve(config) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with Client(server.url) as each:
        yield each


@pytest.fixture
def name():
    """Of something that is of one test alone."""
    return f"of-test-{next(_numbers)}"
