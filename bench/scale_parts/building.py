"""Every index is built once and kept, with what it cost, or with why it could not be built."""

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from bench.scale_parts.contender import KINDS
from bench.scale_parts.processes import Failed, Process

BUILT = "built.json"


@attrs.frozen
class Pythons:
    """Which Python runs our contenders, and which the others."""

    ours: str
    peers: str

    def of(self, name: str) -> str:
        """That of a contender."""
        return self.ours if KINDS[name].ours else self.peers


@attrs.frozen
class Index:
    """An index that was built: where it lies, and what it cost."""

    name: str
    directory: Path
    facts: dict[str, Any]


def indexes(
    made: Path, names: Iterable[str], pythons: Pythons, rows: int, *, build: bool
) -> tuple[list[Index], dict[str, str]]:
    """The indexes there are, built if they are missing and may be; and why others are not."""
    found, missing = [], {}
    for name in names:
        directory = made / name.replace(" ", "_")
        if not (directory / BUILT).exists() and build:
            _build(made, name, directory, pythons, rows)
        if not (directory / BUILT).exists():
            missing[name] = "not built"
            continue
        facts = json.loads((directory / BUILT).read_text())
        if "failed" in facts:
            missing[name] = facts["failed"]
        else:
            found.append(Index(name, directory, facts))
    return found, missing


def _build(made: Path, name: str, directory: Path, pythons: Pythons, rows: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} building {name}", flush=True)
    unfinished = directory.with_name(directory.name + ".unfinished")
    for left in (unfinished, directory):
        shutil.rmtree(left, ignore_errors=True)
    try:
        with Process(pythons.of(name), name, made, unfinished, "build") as process:
            facts = process.answer
    except Failed as error:
        facts = {"failed": str(error)}
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    else:
        size = sum(file.stat().st_size for file in unfinished.rglob("*") if file.is_file())
        facts |= {"disk_bytes_each": size / rows}
    (unfinished / BUILT).write_text(json.dumps(facts, indent=1))
    # Some remember where they were built: so it is not renamed before nothing is open.
    unfinished.rename(directory)
    print(f"{time.strftime('%H:%M:%S')} {name}: {facts}", flush=True)
