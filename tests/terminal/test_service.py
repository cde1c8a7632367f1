"""`kissvdb service`: the unit is written, shown and removed; nothing is started."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kissvdb.cli import main
from kissvdb.commands.service import place
from kissvdb.commands.service.unit import Unit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(capsys):
    def run(*argv, code=0):
        assert main(["service", *map(str, argv)]) == code, capsys.readouterr()
        out, err = capsys.readouterr()
        return err if code else out

    return run


@pytest.mark.parametrize("user", [(), ("--user",)])
def test_written_looked_at_and_removed(run, tmp_path, monkeypatch, user):
    monkeypatch.setenv("HOME", "/home/añ b")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    flags = (*user, "--root", tmp_path)
    where = "home/añ b/.config/systemd/user" if user else "etc/systemd/system"
    file = tmp_path / where / "kissvdb.service"
    assert "not installed" in run("status", *flags)
    shown = run("install", *flags, "--print")
    assert not file.exists()
    said = run("install", *flags)
    assert "nothing was started" in said
    assert f"systemctl {'--user ' if user else ''}enable --now kissvdb" in said
    assert file.read_text() == shown
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert "written by kissvdb" in run("status", *flags)
    # What a person changed is not lost unasked.
    file.write_text(shown + "# mine\n")
    assert "--force" in run("install", *flags, code=1)
    run("install", *flags, "--force")
    run("uninstall", *flags)
    assert not file.exists()
    assert "there is no" in run("uninstall", *flags, code=1)


def test_a_unit_of_somebody_else_stays(run, tmp_path):
    file = tmp_path / "etc/systemd/system/kissvdb.service"
    file.parent.mkdir(parents=True)
    file.write_text("[Service]\n")
    flags = ("--root", tmp_path)
    assert "somebody else" in run("status", *flags)
    assert "not written by kissvdb" in run("uninstall", *flags, code=1)
    assert file.exists()
    run("uninstall", *flags, "--force")


def test_an_installation_that_the_service_could_not_read_is_refused(run, monkeypatch, tmp_path):
    monkeypatch.setattr(place.sys, "executable", "/root/venv/bin/python")
    said = run("install", "--root", tmp_path, code=1)
    assert "/opt/kissvdb" in said
    run("install", "--user", "--root", tmp_path, "--print")


def test_the_configuration_that_is_there_is_used(run, tmp_path):
    (tmp_path / "etc/kissvdb").mkdir(parents=True)
    assert "--config" not in run("install", "--root", tmp_path, "--print")
    (tmp_path / "etc/kissvdb/kissvdb.toml").touch()
    shown = run("install", "--root", tmp_path, "--print")
    assert " serve --config /etc/kissvdb/kissvdb.toml\n" in shown
    shown = run("install", "--root", tmp_path, "--print", "--config", "/a b/100%.toml")
    assert ' --config "/a b/100%%.toml"\n' in shown


def directives(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_unit_in_config_is_the_one_that_is_written():
    unit = Unit(
        ["/opt/kissvdb/bin/kissvdb"],
        Path("/etc/kissvdb/kissvdb.toml"),
        Path("/etc/kissvdb/environment"),
    )
    there = (ROOT / "config" / "kissvdb.service").read_text()
    documentation = "Documentation=file:/opt/kissvdb/docs/config.md"
    assert [each for each in directives(there) if each != documentation] == directives(unit.text())


@pytest.mark.parametrize("user", [(), ("--user",)])
def test_systemd_finds_nothing_to_say_about_it(run, tmp_path, user):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "kissvdb.service"
    file.write_text(run("install", "--root", tmp_path / "none", "--print", *user))
    command = ["systemd-analyze", *user, "verify", "--man=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    about = [line for line in done.stderr.splitlines() if "kissvdb" in line]
    assert about == []
