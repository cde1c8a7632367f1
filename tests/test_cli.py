"""The commands as a user meets them: what they print, and how they fail."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kissvdb.cli import main
from kissvdb.config import Config
from kissvdb.settings import SETTINGS
from kissvdb.sources import FILE_VARIABLE
from kissvdb.version import VERSION

COMMANDS = ["serve", "config", "check", "log", "backup", "restore", "openapi"]


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No setting of the machine and no .env of the checkout reaches a test."""
    for row in SETTINGS.values():
        for name in row.environment_names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit code, standard output, standard error."""

    def run(*argv: str) -> tuple[object, str, str]:
        try:
            code: object = main(argv)
        except SystemExit as leave:
            code = leave.code
        return code, *capsys.readouterr()

    return run


def test_help_and_version_import_nothing_heavy():
    heavy = "trio numba numpy apsw quart quart_trio hypercorn msgspec prometheus_client cattrs"
    script = f"""
import sys
from kissvdb.cli import main
for argv in (["--version"], ["--help"]):
    try:
        main(argv)
    except SystemExit as leave:
        assert leave.code == 0
loaded = set({heavy!r}.split()) & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"kissvdb {VERSION}\n")


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"\n    {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_flags(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: kissvdb {name} ")


def test_config_prints_every_effective_value_and_where_it_came_from(run, monkeypatch, tmp_path):
    (tmp_path / "my.toml").write_text('[log]\nsegment_max_bytes = "2MiB"\n')
    monkeypatch.setenv("STATE_SHARDS", "4")
    monkeypatch.setenv("API_KEY", "hunter2")
    monkeypatch.setenv("SIMD_ENABLED", "1")
    flags = ["--config", "my.toml", "--host", "0.0.0.0", "--port=8", "--data", "d", "--memory"]
    code, out, err = run("config", *flags, "--logs", "error", "--set", "limits.k_max=7")
    assert (code, err) == (0, "")
    printed = tomllib.loads(out)
    names = {f"{section}.{field}" for section, fields in printed.items() for field in fields}
    assert names == set(SETTINGS)
    origins = dict(line.split(" = ", 1) for line in out.splitlines() if " = " in line)
    assert origins["segment_max_bytes"].split() == ["2097152", "#", "my.toml:2"]
    assert origins["shards"].split("# ")[1] == "environment STATE_SHARDS"
    assert origins["bind"].split("# ")[1] == "flag --host"
    assert origins["port"].split() == ["8", "#", "flag", "--port"]
    assert origins["data_dir"].split() == ['"d"', "#", "flag", "--data"]
    assert origins["memory"].split() == ["true", "#", "flag", "--memory"]
    assert origins["level"].split("# ")[1] == "flag --logs"
    assert origins["k_max"].split("# ")[1] == "flag --set"
    assert origins["lane"].split("# ")[1] == "default"
    assert "hunter2" not in out
    assert out.endswith("# note: SIMD_ENABLED is accepted and has no effect here yet\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prot", "9000"], "unknown flag --prot; did you mean --port?"),
        (["serve", "--dta-dir=x"], "unknown flag --dta-dir; did you mean --data-dir?"),
        (["log", "dump", "--sinc", "3"], "unknown flag --sinc; did you mean --since?"),
        (["log", "dmp"], "invalid choice: 'dmp'"),
        (["sevre"], "unknown command 'sevre'; did you mean serve?"),
        (["config", "surplus"], "unexpected argument 'surplus'"),
        (["--por", "9000"], "unknown flag --por; did you mean --port?"),
        (["config", "--set", "server.port"], "--set wants SECTION.FIELD=VALUE, not 'server.port'"),
        (["config", "--port"], "expected one argument"),
        (["log", "dump", "--since", "-1"], "an offset is a number from 0 on, not '-1'"),
        (["log", "dump", "--since", str(2**64)], "an offset is a number from 0 on"),
        (["restore"], "required: BACKUP_DIR"),
    ],
)
def test_wrong_usage_is_told_what_was_meant_and_exits_with_2(run, argv, message):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("usage: kissvdb")
    assert message in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--port", "many"], "server.port must be an integer, not 'many' (from: flag --port)"),
        (["config", "--set", "state.shards=65"], "state.shards must be between 1 and 64, not 65"),
        (["config", "--set", "strem.ring_events=1"], "; did you mean stream.ring_events?"),
        (["config", "--config", "none.toml"], "cannot read none.toml: No such file or directory"),
        (["--bind", "0.0.0.0"], "(server.bind is from: flag --bind)"),
        (["check", "--set", "storage.memory=true"], "there is no data directory"),
    ],
)
def test_a_failure_is_one_line_and_exits_with_1(run, argv, message):
    code, out, err = run(*argv)
    assert (code, out) == (1, "")
    assert err.startswith("kissvdb: ")
    assert err.count("\n") == 1
    assert message in err


def test_the_shipped_unit_runs_a_command_line_that_exists():
    unit = Path(__file__).parent.parent / "config" / "kissvdb.service"
    lines = unit.read_text(encoding="utf-8").splitlines()
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert command.split()[1:3] == ["serve", "--config"]
    (stop,) = [line for line in lines if line.startswith("TimeoutStopSec=")]
    assert int(stop.partition("=")[2]) > Config().server.shutdown_timeout_secs
    for line in lines:
        if line.startswith("Environment=KISSVDB_"):
            name = line.split("=")[1]
            assert any(name in row.environment_names for row in SETTINGS.values()), name


def test_a_reader_that_leaves_early_gets_no_traceback():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kissvdb.cli", "config"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
