import pytest

from kissvdb.kernels import warmup


@pytest.fixture(autouse=True, scope="session")
def _compiled():
    """All kernels, from the cache if it has them; from here on a wrong type is an error."""
    warmup.compile_all()
