"""`kissvdb doctor`: what a report needs, without secrets, and without a trace."""

import json
import os
import socket

import pytest

from kissvdb.cli import main
from kissvdb.commands.doctor import disk, machine
from kissvdb.commands.doctor.findings import PROBLEM, Finding, gathered, lines


@pytest.fixture
def doctor(capsys):
    def doctor(*argv, code=0):
        assert main(["doctor", *map(str, argv)]) == code
        return capsys.readouterr().out

    return doctor


def by_name(text):
    report = json.loads(text)
    return report, {each["name"]: each for each in report["findings"]}


def test_what_it_looks_at(doctor, tmp_path):
    report, found = by_name(doctor("--data-dir", tmp_path, "--json", "--port", "0"))
    assert report["ok"] is True
    sync = found["fdatasync 4 KiB"]["value"]
    assert 0 < sync["p50_ms"] <= sync["p99_ms"]
    assert found["packages"]["value"]["trio"]
    assert found["cores"]["value"]["usable"] == len(os.sched_getaffinity(0))
    for name in ("io_uring", "O_DIRECT", "file system", "free", "features", "open files", "clock"):
        assert name in found
    # The file it measured with is gone, and never had a name.
    assert list(tmp_path.iterdir()) == []
    text = doctor("--data-dir", tmp_path, "--port", "0")
    assert "fdatasync 4 KiB" in text
    assert text.splitlines()[-1].startswith("0 problems")


def test_it_says_where_settings_come_from_and_no_secret(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("RUSTKISS_API_KEY", "very-secret")
    text = doctor("--data-dir", tmp_path, "--port", "0", "--json")
    assert "very-secret" not in text
    origins = by_name(text)[1]["settings from"]["value"]
    assert any("server.api_key" in each for each in origins)


def test_a_data_directory_that_is_not_there_is_not_made(doctor, tmp_path):
    missing = tmp_path / "none" / "data"
    _, found = by_name(doctor("--data-dir", missing, "--json", "--port", "0"))
    assert found["sync"]["level"] == "note"
    assert not missing.parent.exists()
    _, found = by_name(doctor("--memory", "--json", "--port", "0"))
    assert found["data directory"]["level"] == "note"


def test_a_port_that_is_taken_is_a_note(doctor, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, found = by_name(doctor("--data-dir", tmp_path, "--json", "--port", port))
    assert found["address"]["level"] == "note"


def test_a_problem_is_the_exit_code(doctor, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "YEAR_LEAST", 9999)
    text = doctor("--data-dir", tmp_path, "--port", "0", code=1)
    assert "  ! clock" in text
    os.utime(tmp_path, (2**32, 2**32))
    file = tmp_path / "log"
    file.touch()
    os.utime(file, (2**32, 2**32))
    assert "newest file" in doctor("--data-dir", tmp_path, "--port", "0", code=1)


def test_a_part_that_fails_leaves_the_others():
    def breaks():
        yield Finding("disk", "one", 1)
        raise OSError("gone")

    found = gathered("disk", breaks)
    assert [each.name for each in found] == ["one", "looking"]
    assert "1 notes" in list(lines(found))[-1]


def test_the_file_system_of_a_directory(tmp_path):
    assert disk._file_system(tmp_path)
    assert disk._file_system(tmp_path / "x") == disk._file_system(tmp_path)
    shm = next(iter(disk.look(None)))
    assert shm.name == "io_uring"
    if os.access("/dev/shm", os.W_OK):
        from pathlib import Path

        (kind,) = [each for each in disk.look(Path("/dev/shm")) if each.name == "file system"]
        assert (kind.value, kind.level) == ("tmpfs", PROBLEM)


@pytest.mark.slow
def test_the_bill_of_materials(doctor):
    bill = json.loads(doctor("--sbom"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    refs = {each["bom-ref"] for each in bill["components"]}
    names = {each["name"].lower() for each in bill["components"]}
    assert {"trio", "numpy", "numba", "llvmlite", "msgspec"} <= names
    root = bill["metadata"]["component"]["bom-ref"]
    for edge in bill["dependencies"]:
        assert edge["ref"] in refs | {root}
        assert set(edge["dependsOn"]) <= refs
    (own,) = [each["dependsOn"] for each in bill["dependencies"] if each["ref"] == root]
    assert any(each.startswith("pkg:pypi/trio@") for each in own)
    without = [each["name"] for each in bill["components"] if not each.get("licenses")]
    assert len(without) < len(refs) / 10, without
