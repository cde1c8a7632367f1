"""``import kissvdb`` wherever a program starts, and the programs that the pages show."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/embedding.md", "docs/vectors.md", "docs/config.md", "docs/testing.md"]


def python(cwd, *arguments):
    """A program that starts in ``cwd``, which comes before what is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )


def imported(cwd):
    return python(cwd, "-c", "import kissvdb; print(kissvdb.open_database)")


@pytest.mark.parametrize("folder", ["kissvdb", "actors"])
def test_a_folder_of_that_name_where_a_program_starts_is_not_the_package(tmp_path, folder):
    (tmp_path / folder / "docs").mkdir(parents=True)
    done = imported(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "open_database" in done.stdout


@pytest.mark.parametrize("name", ["actors.py", "actors/__init__.py"])
def test_another_package_called_actors_is_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("film = 'star'\n")
    done = imported(tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: kissvdb comes with a package 'actors'")
    assert str(tmp_path / name) in last
    assert "rename that" in last


def test_the_checkout_is_installed_so_that_a_clone_does_not_stand_in_the_way():
    """An import hook, which setuptools makes by default, comes after the folder of the clone."""
    assert "editable_mode=compat" in (ROOT / "scripts" / "setup").read_text()


def programs():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert blocks, page
        for number, block in enumerate(blocks):
            if "kissvdb.client" in block:
                continue  # Those want a server: tests/client runs them.
            yield pytest.param(block, id=f"{page}-{number}")


@pytest.mark.parametrize("block", list(programs()))
def test_the_programs_of_the_pages_run(tmp_path, block):
    file = tmp_path / "test_program.py"
    file.write_text(block, encoding="utf-8")
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in block else []
    done = python(tmp_path, *runner, str(file))
    assert done.returncode == 0, done.stdout + done.stderr
