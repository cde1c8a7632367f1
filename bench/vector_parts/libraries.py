"""The libraries that are compared in one process, and which of them are installed."""

import contextlib
import importlib
import importlib.metadata

from bench.vector_parts import contenders, in_process
from bench.vector_parts.contenders import Build

# The modules of the peers and their packages.
PACKAGES = {
    "hnswlib": "hnswlib",
    "faiss": "faiss-cpu",
    "usearch": "usearch",
    "svs": "scalable-vs",
    "zvec": "zvec",
    "turbovec": "turbovec",
    "qdrant_edge": "qdrant-edge-py",
}


def builders() -> list[tuple[str, Build]]:
    """What can be built here, by name, and how. Says what is left out."""
    made: list[tuple[str, Build]] = [
        ("ours", contenders.ours_by_codes),
        ("ours float32", contenders.ours_by_floats),
    ]
    peers = {
        "hnswlib": contenders.hnswlib,
        "faiss": contenders.faiss,
        "usearch": contenders.usearch,
        "svs": contenders.svs,
        "zvec": in_process.zvec,
        "turbovec": in_process.turbovec,
        "qdrant_edge": in_process.qdrant_edge,
    }
    for module, build in peers.items():
        package = PACKAGES[module]
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"skipped: {module} is not installed: .venv-bench/bin/pip install {package}")
            continue
        made.append((module, build))
        if module == "svs":
            made += contenders.lvq_builders()
    return made


def versions() -> dict[str, str]:
    """The versions of the libraries that are installed."""
    found = {}
    for package in PACKAGES.values():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
