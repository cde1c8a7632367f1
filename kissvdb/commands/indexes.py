"""``kissvdb tune`` and ``kissvdb reindex``: asked of a running server, with how far it is.

What asks the server is imported when a command runs, so that ``--help`` stays quick.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

ServerOf = Callable[[argparse.Namespace], tuple[str, str]]
"""The address of the server that a command line means, and its key."""

IDLE_SECONDS_MAX = 3600.0
POLL_SECONDS = 0.5


def add(commands: Any, command: Any, asking: argparse.ArgumentParser, server_of: ServerOf) -> None:
    """Add both to ``commands``. ``command(group, name, run, help, parent)`` makes one; ``asking``
    has the flags of commands that ask a server."""

    def made(name: str, run: Callable[..., Iterator[str]], help: str) -> Any:
        def on_server(arguments: argparse.Namespace) -> int:
            for line in run(*server_of(arguments), arguments):
                print(line)
            return 0

        one = command(commands, name, on_server, help, asking)
        one.add_argument("--collection", required=True, metavar="NAME")
        return one

    one = made("tune", _tune, "measure and set how hard searches of a collection try")
    one.add_argument("--recall", type=float, default=0.95, metavar="R", help="to be found: 0.95")
    one.add_argument("--k", type=int, default=10, metavar="N", help="of the so many nearest")
    one.add_argument("--queries", type=int, default=200, metavar="N", help="to measure with")
    one = made("reindex", _reindex, "give a collection another index while it serves")
    one.add_argument("--kind", metavar="KIND", help="hnsw, ivf, vamana or flat")
    one.add_argument("--quantization", choices=("auto", "q4", "q8", "none"))
    one.add_argument("--embedder", metavar="NAME", help="make all vectors anew of their texts")
    one.add_argument(
        "--index",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter, such as m=24; repeatable",
    )
    one.add_argument("--no-wait", action="store_true", help="begin, and do not wait for the end")


def _tune(url: str, api_key: str, arguments: argparse.Namespace) -> Iterator[str]:
    body = {"recall": arguments.recall, "k": arguments.k, "queries": arguments.queries}
    found = _ask(url, api_key, arguments.collection, "/tune", body)
    option, tuning = found["option"], found["tuning"]
    if option is not None:
        yield f"{option:>18}  recall@{tuning['k']}  us a search"
    for rung in tuning["ladder"]:
        yield f"{rung['effort']:>18}  {rung['recall']:<9.4f}  {rung['us']:.1f}"
    if found["effort"] is None:
        yield f"{found['collection']}: {found['note']}"
    else:
        yield f"{found['collection']}: {option} is {found['effort']}, recall {found['reached']:g}"


def _reindex(url: str, api_key: str, arguments: argparse.Namespace) -> Iterator[str]:
    index = dict(arguments.index)
    if arguments.kind is not None:
        index["kind"] = arguments.kind
    wanted = {
        "index": index or None,
        "quantization": arguments.quantization,
        "embedder": arguments.embedder,
    }
    body = {name: each for name, each in wanted.items() if each is not None}
    _ask(url, api_key, arguments.collection, "/reindex", body)
    if arguments.no_wait:
        yield f"{arguments.collection}: begun"
        return
    while True:
        detail = _ask(url, api_key, arguments.collection)
        job = detail["reindex"]
        if job is None:
            break
        if job["state"] == "failed":
            from kissvdb.errors import Refused

            raise Refused(f"{arguments.collection}: {job['error']}")
        _show(f"{job['state']}: {job['done']} of {job['total']} {job['error'] or ''}")
        time.sleep(POLL_SECONDS)
    _show("")
    yield f"{arguments.collection}: {detail['index']['kind']}, {detail['count']} vectors"


def _show(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _ask(url: str, api_key: str, collection: str, what: str = "", body: Any = None) -> Any:
    import json
    from urllib.parse import quote

    from kissvdb.commands.server_call import calling

    path = f"/v1/vector/{quote(collection, safe='')}{what}"
    with calling(
        url,
        api_key,
        path,
        method="GET" if body is None else "POST",
        body=body,
        idle_seconds_max=IDLE_SECONDS_MAX,
    ) as answer:
        return json.load(answer)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"a parameter is NAME=VALUE, not {text!r}")
    return name, int(value) if value.isascii() and value.isdigit() else value
