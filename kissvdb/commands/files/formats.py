"""Which kind of file it is: by its name, or as it is said."""

from pathlib import Path

from kissvdb.errors import Refused

FORMATS = ("jsonl", "csv", "parquet", "npy")
_BY_SUFFIX = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".npy": "npy"}

STDIO = "-"


def format_of(name: str, said: str | None) -> str:
    """One of FORMATS. What is not known by its name is read as lines of JSON."""
    return said or _BY_SUFFIX.get(Path(name).suffix.lower(), "jsonl")


def missing(package: str, extra: str) -> Refused:
    """What is said when a package of an extra is not there."""
    return Refused(f"this needs the package {package}: pip install 'kissvdb[{extra}]'")
