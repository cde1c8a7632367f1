"""``kissvdb check``: verify a data directory, and repair its log.

``check`` changes nothing; it shares the directory with other checks but not with a server.
``repair`` wants the directory for itself. Both raise DirectoryInUse when a server runs on it,
ConfigError when there is no database, and Damaged when a later kissvdb wrote it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from kissvdb.errors import ConfigError
from kissvdb.storage import keys
from kissvdb.storage.data_dir import META_NAME, lock
from kissvdb.storage.log.inspection import CheckReport, VerifyRows, examine, no_rows
from kissvdb.storage.log.repair import RepairReport, foresee, mend

__all__ = ["CheckReport", "RepairReport", "check", "repair"]


def check(path: str | os.PathLike[str], verify_rows: VerifyRows = no_rows) -> CheckReport:
    """Verify every frame of every segment, their order, the indexes, meta.json, tables, API keys,
    the checkpoints of collections, and by ``verify_rows`` their rows. Where there are problems, say
    what a repair would do."""
    with _locked(path, shared=True) as directory:
        report = examine(directory, verify_rows)
        report = attrs.evolve(report, problems=(*report.problems, *keys.problems(directory)))
        return report if report.ok else attrs.evolve(report, repairs=foresee(directory))


def repair(path: str | os.PathLike[str]) -> RepairReport:
    """Cut the log at the first damage, so that the server starts again; keeps what it cuts."""
    with _locked(path, shared=False) as directory:
        return mend(directory)


@contextmanager
def _locked(path: str | os.PathLike[str], *, shared: bool) -> Iterator[Path]:
    directory = Path(path).absolute()
    if not (directory / "log").is_dir() and not (directory / META_NAME).is_file():
        raise ConfigError(f"{directory} holds no kissvdb database: name another with --data-dir")
    fd = lock(directory, shared=shared)
    try:
        yield directory
    finally:
        if fd is not None:
            os.close(fd)
