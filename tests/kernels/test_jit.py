"""Which files a compiled kernel is made of."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("numba")

from kissvdb.kernels import jit

INT4 = "codes/distance_int4.py"


def _stamps(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, str]:
    monkeypatch.setattr(jit, "_FOLDER", folder)
    jit._imports.cache_clear()
    names = ("scan", "graph.search", "text.maxscore")
    stamps = {name: jit.stamp(f"kissvdb.kernels.{name}") for name in names}
    jit._imports.cache_clear()
    return stamps


def test_a_kernel_is_compiled_anew_when_a_file_changed_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(jit._FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = _stamps(monkeypatch, folder)
    (folder / INT4).write_text((folder / INT4).read_text() + "# another\n")
    after = _stamps(monkeypatch, folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"scan", "graph.search"}, "texts have no codes of vectors"
