import os

import pytest

from kissvdb.kernels import warmup
from tests.conftest import FORM


@pytest.fixture(autouse=True, scope="session")
def _compiled():
    """All kernels, from the cache if it has them; from here on a wrong type is an error."""
    if not os.environ.get(FORM, "").endswith("?"):
        warmup.compile_all()
