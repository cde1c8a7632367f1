"""The commands as a user meets them: what they print, and how they fail."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from kissvdb.cli import main
from kissvdb.config import Config, Server, Storage
from kissvdb.settings import SETTINGS
from kissvdb.sources import FILE_VARIABLE
from kissvdb.testing import serve
from kissvdb.version import VERSION
from tests.patience import PATIENCE_SECS

COMMANDS = ["serve", "config", "check", "log", "backup", "restore"]
COMMANDS += ["vacuum", "warmup", "openapi"]


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

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*argv: str) -> tuple[object, str, str]:
        try:
            code: object = main(argv)
        except SystemExit as leave:
            code = leave.code
        return code, *capsys.readouterr()

    yield run
    # What `serve` wrote its log to is closed after the test.
    root.handlers[:] = handlers
    root.setLevel(level)


def test_help_and_version_import_nothing_heavy():
    heavy = (
        "trio numba numpy apsw quart quart_trio hypercorn msgspec prometheus_client cattrs attrs"
    )
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
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
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
        (
            ["sevre"],
            "unknown command 'sevre'; did you mean serve?; there are serve, config, check,",
        ),
        (["config", "surplus"], "unexpected argument 'surplus'"),
        (["--por", "9000"], "unknown flag --por; did you mean --port?"),
        (["config", "--set", "server.port"], "--set wants SECTION.FIELD=VALUE, not 'server.port'"),
        (["config", "--port"], "expected one argument"),
        (["log", "dump", "--since", "-1"], "an offset is a number from 0 on, not '-1'"),
        (["log", "dump", "--since", str(2**64)], "an offset is a number from 0 on"),
        (["backup", "b", "--url", "localhost:9917"], "looks like http://host:9917, not 'local"),
        (["backup", "b", "--url", "http://[::1"], "an address looks like http://host:9917"),
        (["backup", "b", "--url", "http://h:x"], "an address looks like http://host:9917"),
        (["restore"], "required: BACKUP"),
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
        (["--bind", "127.0.0.1:19917"], "has a port: give the address alone, and the port as"),
        (["backup", "b", "--api-key", "a b"], "server.api_key must be at most 256 visible ASCII"),
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
            timeout=PATIENCE_SECS,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def call(method: str, url: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
        content: bytes = answer.read()
        return content


@pytest.fixture
def logs_restored():
    """``serve`` configures the logs of the process it runs in."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def filled(tmp_path):
    """A data directory that a server wrote three records into and closed."""
    directory = tmp_path / "filled"
    config = Config(server=Server(port=0), storage=Storage(data_dir=str(directory)))
    with serve(config) as server:
        for number in range(3):
            call("PUT", f"{server.url}/v1/state/k{number}", {"value": {"n": number}})
    return directory


def test_without_a_command_it_serves_until_it_is_told_to_stop():
    process = subprocess.Popen(
        [sys.executable, "-m", "kissvdb", "--port", "0", "--data-dir", "new"],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            url = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
            assert url is not None
            assert call("GET", f"{url[0]}/v1/health") == b"ok"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_SECS) == 0
        finally:
            process.kill()
    assert Path("new/log").is_dir()


def test_the_start_line_names_the_sources_of_address_directory_and_key(tmp_path):
    (tmp_path / "my.env").write_text("API_KEY=hunter2\nDATA_DIR=new\n")
    (tmp_path / ".env").write_text("API_KEY=anothers\n")
    command = [sys.executable, "-m", "kissvdb", "--port", "0"]
    environ = {**os.environ, "KISSVDB_PORT": "tcp://10.0.0.1:9917", "KISSVDB_PROT": "1"}

    def said(*flags: str) -> list[str]:
        process = subprocess.Popen(
            [*command, *flags], stderr=subprocess.PIPE, text=True, env=environ
        )
        with process:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if " serves on " in line:
                    process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        return lines

    lines = said("--env-file", "my.env", "--set", "server.cors_allowed_origins=*")
    (start,) = [line for line in lines if " serves on " in line]
    assert 'bind_from=default port_from="flag --port"' in start
    assert 'data_from="my.env:2 DATA_DIR" key_from="my.env:1 API_KEY"' in start
    assert 'pages="any origin"' in start
    assert any("WARNING" in line and "KISSVDB_PROT is not a setting" in line for line in lines)
    assert any("WARNING" in line and "KISSVDB_PORT: not settings" in line for line in lines)

    lines = said("--data-dir", "other")
    (start,) = [line for line in lines if " serves on " in line]
    assert 'data_from="flag --data-dir" key_from="no key" pages="loopback origins"' in start
    assert any("WARNING" in line and ".env" in line and "left alone" in line for line in lines)


def test_a_port_in_use_is_one_line(run, logs_restored):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", "--memory", "--port", str(port))
    assert code == 1
    assert err == (
        f"kissvdb: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "choose another with --port or --bind\n"
    )


def test_a_second_server_on_a_data_directory_is_one_line(run, logs_restored, tmp_path):
    config = Config(server=Server(port=0), storage=Storage(data_dir=str(tmp_path / "d")))
    with serve(config):
        for argv in (["serve", "--port", "0", "--data-dir", "d"], ["check", "d"]):
            code, out, err = run(*argv)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert f"{tmp_path}/d is in use by process" in err


def test_openapi_prints_the_description_that_the_server_serves(run):
    code, out, _ = run("openapi")
    assert code == 0
    with serve() as server:
        assert call("GET", f"{server.url}/openapi.yaml").decode() == out


def test_log_dump_prints_the_records_after_an_offset(run, filled):
    code, out, err = run("log", "dump", "--data-dir", str(filled))
    assert (code, err) == (0, "")
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["offset"] for record in records] == [1, 2, 3]
    _, out, _ = run("log", "dump", "--since", "2", "--data-dir", str(filled))
    assert [json.loads(line) for line in out.splitlines()] == records[2:]
    assert "k2" in out
    assert run("log", "dump", "--since", "3", "--data-dir", str(filled)) == (0, "", "")


def test_a_backup_of_a_running_server_restores_to_a_sound_directory(run, filled, tmp_path):
    config = Config(server=Server(port=0, api_key="hunter2"), storage=Storage(data_dir=str(filled)))
    with serve(config) as server:
        given = ["--url", server.url, "--api-key", "hunter2"]
        code, out, err = run("backup", "b", *given)
        assert (code, out, err) == (0, f"b holds {server.url}, at offset 3\n", "")
        code, _, err = run("backup", "b", *given)
        assert code == 1
        assert "b is not empty" in err
        code, _, err = run("backup", "c", "--url", server.url, "--api-key", "wrong")
        assert (code, err.count("\n")) == (1, 1)
        assert f"{server.url} refused: " in err
    code, out, err = run("restore", "b", "--data-dir", "restored")
    assert (code, out, err) == (0, "restored holds b, at offset 3\n", "")
    assert run("check", "restored")[0] == 0
    dumps = [run("log", "dump", "--data-dir", name) for name in ("restored", str(filled))]
    assert dumps[0] == dumps[1]


def test_a_backup_calls_the_configured_server_with_its_key(run, monkeypatch, filled):
    config = Config(server=Server(port=0, api_key="hunter2"), storage=Storage(data_dir=str(filled)))
    with serve(config) as server:
        monkeypatch.setenv("RUSTKISS_API_KEY", "hunter2")
        monkeypatch.setenv("PORT_RUST_KISS_VDB", str(server.port))
        monkeypatch.setenv("BIND_ADDR", "0.0.0.0")
        code, out, err = run("backup", "b")
    assert (code, err) == (0, "")
    assert out == f"b holds http://127.0.0.1:{server.port}, at offset 3\n"


def test_a_backup_of_a_server_that_does_not_run_is_one_line(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, out, err = run("backup", "b", "--url", f"http://127.0.0.1:{port}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "is the server running?" in err


def test_restore_refuses_what_is_no_backup(run, tmp_path):
    (tmp_path / "b").mkdir()
    code, out, err = run("restore", "b", "--data-dir", "d")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "b is not a complete kissvdb backup" in err
    assert not (tmp_path / "d").exists()
    code, out, err = run("restore", "nowhere", "--data-dir", "d")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "there is no nowhere" in err
