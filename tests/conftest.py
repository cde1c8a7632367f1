"""What the machine is like reaches no test, and no process that a test starts.

Done when this is imported: kernels read KISSVDB_CPU when test modules import them.
"""

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kissvdb.sources import ALIASES, PREFIX, WITHOUT_EFFECT

ROOT = Path(__file__).resolve().parents[1]


def _is_foreign(name: str) -> bool:
    """A setting of a server, or a proxy between a test and its server on this machine."""
    seeds = {alias for aliases in ALIASES.values() for alias in aliases} | WITHOUT_EFFECT
    return name.startswith(PREFIX) or name in seeds or name.lower().endswith("_proxy")


FORM = "TEST_KERNELS_FORM"
"""In a run of another form of the kernels: KISSVDB_CPU."""
AS_CALLED = "TEST_KERNELS_AS_CALLED"
"""Set for a run in which only those are compiled that a test calls."""

for _name in filter(_is_foreign, list(os.environ)):
    del os.environ[_name]
if os.environ.get(FORM):
    os.environ["KISSVDB_CPU"] = os.environ[FORM]
# Each client of httpx reads the machine's list of authorities, for 50 ms; no test needs any.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(ROOT / "tests")
# Each of many processes would compile all it imports: most of what a short one does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Wherever a test starts Python, it tests this checkout and not what is installed.
os.environ["PYTHONPATH"] = str(ROOT)


def pytest_configure(config):
    """Generated examples are the same in every default run; the long tests look for new ones.
    None is late on a busy machine."""
    patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("same", derandomize=True, **patient)
    settings.register_profile("new", **patient)
    settings.load_profile("new" if config.option.markexpr == "slow" else "same")


DESCRIPTORS_LEFT_MAX = 200
_descriptors = 0


def pytest_runtest_teardown():
    """What a test has left, the next ones do not have: rows that nobody closed keep their files
    until somebody looks for them, and select() knows the first 1,024 only."""
    global _descriptors
    count = len(os.listdir("/proc/self/fd"))
    if count > _descriptors + DESCRIPTORS_LEFT_MAX:
        # Once: what is still open then is in use.
        gc.collect()
        _descriptors = len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory):
    """Work in an empty directory: a ``.env`` of the checkout is nobody's here."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)
