import os

import pytest

from kissvdb.kernels import features, warmup
from tests.conftest import AS_CALLED, FORM


@pytest.fixture(autouse=True, scope="session")
def _compiled():
    """All kernels, from the cache if it has them; from here on a wrong type is an error."""
    form = os.environ.get(FORM)
    assert features.PORTABLE is (form == "portable")
    if form == "avx2":
        assert features.AVX2
        assert not features.VNNI
    if not os.environ.get(AS_CALLED):
        warmup.compile_all()
