"""The process in which a server has the kernels compiled."""

import os
import subprocess
import sys
import time

from tests.patience import PATIENCE_SECS


def test_a_compiler_ends_with_the_server_that_started_it(tmp_path):
    # A cache of its own, and a cold one: the compilation would take a minute.
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "kissvdb", "warmup", "--child", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
        try:
            deadline = time.monotonic() + PATIENCE_SECS
            while not (tmp_path / "compiling").exists():
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert child.stdin is not None
            # As the system does when the server dies.
            child.stdin.close()
            assert child.wait(timeout=PATIENCE_SECS) == 1
        finally:
            child.kill()
    assert not list(tmp_path.glob("complete-*"))
