"""Which files a compiled kernel is made of."""

import ast
import shutil
import subprocess
import sys
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


def test_imports_are_found_as_a_syntax_tree_has_them():
    # It must do without: CPython 3.11 lets no two threads make trees at the same time.
    for path in jit._FOLDER.rglob("*.py"):
        place = path.relative_to(jit._FOLDER).with_suffix("")
        module = ".".join([jit._PACKAGE, *place.parts]).removesuffix(".__init__")
        wanted = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
            elif isinstance(node, ast.Import):
                wanted |= {each.name for each in node.names}
        found = jit._imports(module)
        assert found is not None
        assert wanted <= found[1], module


def test_a_start_opens_collections_without_the_compiler():
    code = "import sys, kissvdb.core.rows.owner; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
