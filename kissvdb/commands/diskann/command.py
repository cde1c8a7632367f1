"""Their arguments, and what they print: the server's answer, a line of JSON."""

import argparse
from collections.abc import Callable
from typing import Any

ServerOf = Callable[[argparse.Namespace], tuple[str, str]]
"""The address of the server that a command line means, and its key."""

IDLE_SECONDS_MAX = 6 * 3600.0
"""How long a server may build: some five minutes for a million vectors on two cores."""


def add(commands: Any, command: Any, asking: argparse.ArgumentParser, server_of: ServerOf) -> None:
    """Add ``diskann`` to ``commands``. ``command(group, name, run, help, parent)`` makes one;
    ``asking`` has the flags of commands that ask a server."""
    group = commands.add_parser(
        "diskann", help="give a collection a graph on disk", allow_abbrev=False
    )
    group.set_defaults(parser=group)
    inner = group.add_subparsers(metavar="COMMAND", required=True)

    def made(name: str, help: str, *, asks: bool = True) -> None:
        def on_server(arguments: argparse.Namespace) -> int:
            print(
                _asked(*server_of(arguments), arguments, name, _body(arguments) if asks else None)
            )
            return 0

        one = command(inner, name, on_server, help, asking)
        one.add_argument("--collection", required=True, metavar="NAME")
        if asks:
            one.add_argument("--max-degree", type=int, metavar="N", help="links of a vector")
            one.add_argument("--build-threads", type=int, metavar="N", help="search.build_threads")
            one.add_argument(
                "--search-list",
                type=int,
                metavar="N",
                help="vectors a search keeps in view",
            )

    made("build", "build the graph, and wait until all is in it")
    made("tune", "say how many vectors its searches keep in view")
    made("status", "show whether there is one", asks=False)


def _body(arguments: argparse.Namespace) -> dict[str, int]:
    given = {
        "max_degree": arguments.max_degree,
        "build_threads": arguments.build_threads,
        "search_list_size": arguments.search_list,
    }
    return {name: value for name, value in given.items() if value is not None}


def _asked(url: str, api_key: str, arguments: argparse.Namespace, what: str, body: Any) -> str:
    # Imported when a command runs, so that ``--help`` stays quick.
    from urllib.parse import quote

    from kissvdb.commands.server_call import calling

    path = f"/v1/vector/{quote(arguments.collection, safe='')}/diskann/{what}"
    method = "GET" if body is None else "POST"
    with calling(
        url, api_key, path, method=method, body=body, idle_seconds_max=IDLE_SECONDS_MAX
    ) as answer:
        return answer.read().decode()
