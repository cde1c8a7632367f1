"""The vector databases that ours is compared with, each with its data in a directory."""

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.process import (
    NotInstalled,
    Server,
    answers,
    find,
    free_port,
    http_ok,
    running,
    wait,
)

# HTTP/2 preface and empty settings; a gRPC server answers with its own settings.
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_HTTP2_SETTINGS = b"\x04\x00\x00\x00\x00\x00"


@contextmanager
def chroma(directory: Path) -> Iterator[Server]:
    """``chroma run``, as it comes."""
    program = find("chroma", ".venv-bench/bin/pip install chromadb==1.5.9")
    _importable("chromadb")
    port = free_port()
    command = [program, "run", "--path", str(directory / "data"), "--host", "127.0.0.1"]
    command += ["--port", str(port)]
    its_version = importlib.metadata.version("chromadb")
    quiet = {"ANONYMIZED_TELEMETRY": "False"}
    with running("chroma", its_version, "defaults", port, directory, command, **quiet) as server:
        wait(server, lambda: http_ok(port, "/api/v2/heartbeat"))
        yield server


@contextmanager
def milvus(directory: Path) -> Iterator[Server]:
    """The gRPC server of Milvus Lite, as it comes."""
    program = find("milvus-lite", ".venv-bench/bin/pip install milvus-lite pymilvus")
    _importable("pymilvus")
    port = free_port()
    command = [program, "server", "--data-dir", str(directory / "data")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    its_version = importlib.metadata.version("milvus-lite")
    with running("milvus-lite", its_version, "defaults", port, directory, command) as server:
        wait(server, lambda: answers(port, _HTTP2_HELLO, _HTTP2_SETTINGS))
        yield server


def _importable(module: str) -> None:
    try:
        importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalled(
            f"{module} is not importable here: .venv-bench/bin/pip install"
        ) from None
