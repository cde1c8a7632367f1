"""`service` as commands."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_to(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``service`` and what is in it."""
    service = commands.add_parser("service", help="the systemd unit", allow_abbrev=False)
    service.set_defaults(parser=service)
    inner = service.add_subparsers(metavar="COMMAND", required=True)

    flags = ArgumentParser(add_help=False, allow_abbrev=False)
    flags.add_argument("--user", action="store_true", help="your own, instead of the system's")
    flags.add_argument("--root", type=Path, metavar="DIR", help="the tree of another machine")

    def one(name: str, help: str) -> Any:
        return command(inner, name, lambda arguments: _run(name, arguments), help, flags)

    made = one("install", "write the unit; starts nothing")
    made.add_argument("--print", action="store_true", help="only show it")
    made.add_argument(
        "--config",
        dest="unit_config",
        metavar="FILE",
        help="of the server (default: kissvdb.toml in /etc/kissvdb or ~/.config/kissvdb, if there)",
    )
    made.add_argument("--force", action="store_true", help="replace another one")
    one("status", "whether it is installed, and runs")
    made = one("uninstall", "remove the unit; data stays")
    made.add_argument("--force", action="store_true", help="also if somebody else wrote it")


def _run(name: str, arguments: Namespace) -> int:
    from kissvdb.commands.service import place

    for line in getattr(place, name)(arguments):
        print(line)
    return 0
