"""Compiled code: kept on disk, renewed when the package changes, one form for each processor."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding

import kissvdb
from kissvdb.kernels.jit import KERNELS
from tests.conftest import AS_CALLED, FORM

COMPILE_SECONDS_MAX = 1800
"""All kernels, on a machine that has other things to do."""

in_the_usual_form = pytest.mark.skipif(bool(os.environ.get(FORM)), reason="a run of another form")
PACKAGE = Path(kissvdb.__file__).parent
ONE_SEARCH = """
import numpy as np
from kissvdb.kernels import plain, scan
rows = plain.prepare(np.eye(3, dtype=np.float32), 0)
assert scan.scan_rows(rows, 3, 0, rows, 2)[0][:, 0].tolist() == [0, 1, 2]
stats = scan._scan_rows.stats
print("loaded", sum(stats.cache_hits.values()), "compiled", sum(stats.cache_misses.values()))
"""


def run(arguments, path, cache, **environment):
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=path,
        env=os.environ | {"PYTHONPATH": str(path), "NUMBA_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMPILE_SECONDS_MAX,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_compiled_code_is_loaded_until_any_file_of_the_package_changes(tmp_path):
    shutil.copytree(PACKAGE / "kernels", tmp_path / "kissvdb" / "kernels")
    (tmp_path / "kissvdb" / "__init__.py").touch()
    cache = tmp_path / "cache"
    arguments = ["-c", ONE_SEARCH]
    assert run(arguments, tmp_path, cache) == "loaded 0 compiled 1\n"
    assert run(arguments, tmp_path, cache) == "loaded 1 compiled 0\n"
    with (tmp_path / "kissvdb" / "kernels" / "pool.py").open("a") as source:
        source.write("# changed\n")
    assert run(arguments, tmp_path, cache) == "loaded 0 compiled 1\n"


@pytest.mark.slow
def test_a_warm_start_compiles_nothing(tmp_path):
    arguments = ["-m", "kissvdb.kernels.warmup"]
    fill = "from kissvdb.kernels.warmup import fill_cache; fill_cache()"
    run(["-c", fill], PACKAGE.parent, tmp_path)
    warm = run(arguments, PACKAGE.parent, tmp_path)
    loaded, compiled = map(int, re.match(r"loaded (\d+) kernels, compiled (\d+),", warm).groups())
    assert loaded >= len(KERNELS)
    assert compiled == 0


def test_after_the_warm_up_no_kernel_compiles_again():
    assert not any(kernel._can_compile for kernel in KERNELS)


@in_the_usual_form
@pytest.mark.parametrize(
    ("tests", "form", "as_called"),
    [
        # What differs by the processor is how codes are compared.
        pytest.param("tests/kernels/test_codes.py", "portable", "1", marks=pytest.mark.slow),
        pytest.param("tests/kernels/test_codes.py", "avx2", "1", marks=pytest.mark.slow),
        pytest.param("tests/kernels", "portable", "", marks=pytest.mark.slow),
    ],
)
def test_another_form_passes_the_tests_of_this_folder(tests, form, as_called):
    _skip_without_avx2(form)
    root = PACKAGE.parent
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=os.environ | {FORM: form, AS_CALLED: as_called},
        capture_output=True,
        text=True,
        check=False,
        timeout=COMPILE_SECONDS_MAX,
    )
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout, result.stdout


@in_the_usual_form
@pytest.mark.parametrize(("form", "target"), [("portable", "generic"), ("avx2", "haswell")])
def test_the_switch_masks_what_the_processor_can_do(form, target):
    _skip_without_avx2(form)
    code = (
        "from numba.core.registry import cpu_target\n"
        "from kissvdb.kernels import features\n"
        "from kissvdb.kernels.jit import kernel\n"
        "target = cpu_target.target_context.codegen().magic_tuple()[1:]\n"
        "print(features.VNNI, features.AVX2, *target)"
    )
    vnni, avx2, name, *found = run(["-c", code], PACKAGE.parent, "", KISSVDB_CPU=form).split()
    assert (vnni, avx2, name) == ("False", str(form == "avx2"), target)
    assert not re.search(r"\+(avx512|avx10)", "".join(found))
    assert ("+avx2" in "".join(found)) == (form == "avx2")


def _skip_without_avx2(form):
    if form == "avx2" and not binding.get_host_cpu_features().get("avx2"):
        pytest.skip("this processor has no AVX2")
