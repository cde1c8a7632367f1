"""``kissvdb keys list | create | rotate | revoke``: their arguments, and what they print.

What asks the server is imported when a command runs, so that ``--help`` stays quick.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

ServerOf = Callable[[argparse.Namespace], tuple[str, str]]
"""The address of the server that a command line means, and its key."""


def add(commands: Any, command: Any, asking: argparse.ArgumentParser, server_of: ServerOf) -> None:
    """Add ``keys`` to ``commands``. ``command(group, name, run, help, parent)`` makes one;
    ``asking`` has the flags of commands that ask a server."""
    keys = commands.add_parser("keys", help="issue and revoke API keys", allow_abbrev=False)
    keys.set_defaults(parser=keys)
    inner = keys.add_subparsers(metavar="COMMAND", required=True)

    def key_command(name: str, run: Callable[..., int], help: str) -> Any:
        def on_server(arguments: argparse.Namespace) -> int:
            return run(*server_of(arguments), arguments)

        return command(inner, name, on_server, help, asking)

    key_command("list", _list, "list API keys, without their secrets")
    one = key_command("create", _create, "issue an API key: prints its secret, once")
    one.add_argument("name", metavar="NAME", help="what it is for")
    one.add_argument("--role", choices=("read", "write", "admin"), default="write")
    one.add_argument(
        "--scope",
        type=_scope,
        action="append",
        default=[],
        metavar="KIND=PATTERN",
        help="only what it names, such as keys=a:*; repeatable; without: everything",
    )
    one.add_argument("--ttl", type=_length_ms, metavar="TIME", help="how long it works: 1h, 30d")
    one = key_command("rotate", _rotate, "give an API key another secret: prints it, once")
    one.add_argument("id", metavar="ID")
    one.add_argument("--grace", type=_length_ms, metavar="TIME", help="so long the old one works")
    one.add_argument("--ttl", type=_length_ms, metavar="TIME", help="a new end: 1h, 30d")
    one = key_command("revoke", _revoke, "let an API key be no more")
    one.add_argument("id", metavar="ID")


def _list(url: str, api_key: str, arguments: argparse.Namespace) -> int:
    from kissvdb.commands import keys

    for line in keys.listed(url, api_key):
        print(line)
    return 0


def _create(url: str, api_key: str, arguments: argparse.Namespace) -> int:
    from kissvdb.commands import keys

    given = arguments.name, arguments.role, arguments.scope, arguments.ttl
    return _print_secret(keys.create(url, api_key, *given))


def _rotate(url: str, api_key: str, arguments: argparse.Namespace) -> int:
    from kissvdb.commands import keys

    given = arguments.id, arguments.grace, arguments.ttl
    return _print_secret(keys.rotate(url, api_key, *given))


def _revoke(url: str, api_key: str, arguments: argparse.Namespace) -> int:
    from kissvdb.commands import keys

    keys.revoke(url, api_key, arguments.id)
    print(f"{arguments.id} is revoked")
    return 0


def _print_secret(made: dict[str, Any]) -> int:
    """Only the secret on standard output, for ``KEY=$(kissvdb keys create ...)``."""
    said = f"{made['name']!r}, id {made['id']}, role {made['role']}: its secret is shown this once"
    print(said, file=sys.stderr)
    print(made["key"])
    return 0


def _length_ms(text: str) -> int:
    from kissvdb.commands.keys import length_ms

    try:
        return length_ms(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _scope(text: str) -> tuple[str, str]:
    from kissvdb.commands.keys import scope

    try:
        return scope(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
