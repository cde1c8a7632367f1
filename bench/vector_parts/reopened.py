"""Our server or database, opened after everything that it imports.

    python -m bench.vector_parts.reopened server PORT DATA
    python -m bench.vector_parts.reopened embedded COLLECTION DATA QUERY

Prints a line of JSON when the imports are done, with the monotonic clock in ns. ``embedded`` then
opens the database in this process, searches with QUERY (a file of float32) and prints how many
milliseconds after the imports it was open, had an answer, and had compiled code.
"""

import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path
from typing import Any

ROOMS = ("kernels", "core", "storage", "engine", "api", "lane")


def import_all() -> None:
    """Everything that a server with collections has imported in the end."""
    for room in ROOMS:
        package = importlib.import_module(f"kissvdb.{room}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    # The settings import cattrs when they are read.
    for name in ("kissvdb.cli", "kissvdb.daemon", "kissvdb.settings", "cattrs"):
        importlib.import_module(name)


def main() -> int:
    mode, name, directory, *query = sys.argv[1:]
    import_all()
    began = time.monotonic_ns()
    print(json.dumps({"imported_ns": began}), flush=True)
    if mode == "server":
        from kissvdb.cli import main as command

        sys.argv = ["kissvdb", "serve", "--port", name, "--data-dir", directory]
        return command([*sys.argv[1:], "--logs", "warning"])
    import trio

    trio.run(_embedded, name, directory, Path(query[0]), began)
    return 0


async def _embedded(collection: str, directory: str, query: Path, began: int) -> None:
    import attrs
    import numpy as np

    import kissvdb
    from kissvdb.config import Storage

    def since_ms() -> float:
        return (time.monotonic_ns() - began) / 1e6

    found: dict[str, Any] = {}
    config = attrs.evolve(kissvdb.Config(), storage=Storage(data_dir=directory))
    vector = np.fromfile(query, "<f4").tolist()
    async with kissvdb.open_database(config) as database:
        found["open_ms"] = since_ms()
        hits = await database.vectors.search(collection, vector, k=10)
        found["answered_ms"] = since_ms()
        found["ids"] = [hit.id for hit in hits]
        await database.vectors.wait_compiled()
        found["compiled_ms"] = since_ms()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
