"""`completion` as a command, and the one that its scripts run."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

SHELLS = ("bash", "zsh", "fish")


def add_to(commands: Any, command: Callable[..., Any], parser: ArgumentParser) -> None:
    """Add both to the parser that they describe."""

    def script(arguments: Namespace) -> int:
        print(written(arguments.shell, parser), end="")
        return 0

    made = command(commands, "completion", script, "print a script that completes in your shell")
    made.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS))
    hidden = commands.add_parser("_complete", allow_abbrev=False)
    hidden.set_defaults(run=_print_values, parser=hidden, flags=(), config=None, env_file=None)
    hidden.add_argument("--url")
    hidden.add_argument("--key")
    hidden.add_argument("kind")
    # Whatever was typed, a dash in front as well.
    hidden.add_argument("prefix", nargs=argparse.REMAINDER)


def written(shell: str, parser: ArgumentParser) -> str:
    """The script for one of SHELLS."""
    from importlib import import_module

    from kissvdb.commands.complete.described import commands

    made: str = import_module(f"kissvdb.commands.complete.{shell}").script(
        commands(parser, "serve")
    )
    return made


def _print_values(arguments: Namespace) -> int:
    from kissvdb.commands.complete.values import found

    prefix = "".join(arguments.prefix[-1:])
    for name in found(arguments.kind, prefix, arguments.url, arguments.key):
        print(name)
    return 0
