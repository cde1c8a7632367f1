"""The options that all benches share."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import key_spaces
from bench.load.process import check_disk


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the shared options."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--rounds", type=positive, default=3, help="interleaved rounds")
    made.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="where all servers keep their data"
    )
    made.add_argument("--python-load", action="store_true", help="do not compile the C load")
    made.add_argument("--name", default=None, help="of the files in bench/results, not the usual")
    return made


def add_spaces(made: argparse.ArgumentParser, default: str = "4096,200000,1000000") -> None:
    """Let the key spaces be chosen: ``--spaces``, a list of `KeySpace`."""
    made.add_argument(
        "--spaces",
        type=key_spaces.spaces,
        default=default,
        help="how many keys there are: N (few in turn, many uniform), N:uniform, N:zipfian",
    )


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def numbers(text: str) -> list[int]:
    """Whole numbers above 0, separated by commas."""
    return [positive(each) for each in text.split(",")]


@contextmanager
def scratch(parent: Path, command: argparse.ArgumentParser) -> Iterator[tuple[Path, str]]:
    """A directory below ``parent`` and its file system; removed at the end."""
    try:
        kind = check_disk(parent)
    except ValueError as error:
        command.error(str(error))
    with tempfile.TemporaryDirectory(prefix="kissvdb-bench-", dir=parent) as directory:
        yield Path(directory), kind
