"""`kissvdb top` as a command."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Any

from kissvdb.errors import Refused


def add_to(one: Callable[..., Any]) -> None:
    """``one`` makes a command that talks to a server, as in `kissvdb.commands.terminal`."""
    made = one("top", "watch a server, live", run)
    made.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks"
    )


def run(arguments: Namespace) -> int:
    """Watch until one quits. Raises Refused without textual, and without a terminal."""
    import sys

    try:
        from kissvdb.top.app import Top
    except ImportError as error:
        from kissvdb.commands.files.formats import missing

        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise missing("textual", "tui") from None
    import msgspec

    from kissvdb.client import Config

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Refused("top is for a terminal; for programs there is GET /v1/metrics")
    config = Config.from_env()
    given = {"url": arguments.url, "key": arguments.key}
    said = {name: value for name, value in given.items() if value is not None}
    try:
        config = msgspec.structs.replace(config, **said)
        config.origin()
    except ValueError as error:
        raise Refused(str(error)) from None
    Top(config, arguments.interval).run()
    return 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise ArgumentTypeError(f"seconds from 0.1 to 3600, not {text!r}")
    return seconds
