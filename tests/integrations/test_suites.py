"""The suites of frameworks, in a pytest of their own: they need asyncio, and one server for all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITES = Path(__file__).with_name("suites")
TIME_MAX_SECS = 300.0


def test_the_suites_of_the_frameworks_pass_and_none_of_their_tests_is_skipped(tmp_path):
    for package in ("langchain_tests", "langgraph.checkpoint.conformance", "llama_index.core"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(SUITES / "pytest.ini")]
    done = subprocess.run(
        [*command, "--rootdir", str(SUITES), str(SUITES)],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=TIME_MAX_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    outcome = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"\d+ passed in .*", outcome), outcome
