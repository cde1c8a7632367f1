"""The commands of a terminal that talk to a running server, as flags. What they do is in
`kissvdb.commands.terminal_work`, which is imported when one runs."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Any

from kissvdb.commands import top

PREFIX_HELP = "only keys that start so"

Command = Callable[..., Any]


def add_to(commands: Any, command: Command) -> None:
    """Add the commands to the parser. ``command`` makes one of them, as in `kissvdb.cli`."""

    def one(name: str, help: str, run: Any = None) -> Any:
        made = command(commands, name, run or (lambda arguments: _run(name, arguments)), help)
        made.add_argument("--url", help="default: KISSVDB_URL, or http://127.0.0.1:9917")
        made.add_argument("--key", help="default: KISSVDB_KEY")
        return made

    _add_keys(one)
    _add_events(one)
    _add_found(one)
    _add_files(one)
    top.add_to(one)


def _run(name: str, arguments: Namespace) -> int:
    from kissvdb.commands import terminal_work

    return terminal_work.run(name, arguments)


def _add_keys(one: Command) -> None:
    made = one("get", "print a key")
    made.add_argument("name", metavar="KEY")
    made.add_argument("--at", type=int, metavar="OFFSET", help="as it was there")
    made = one("put", "set a key")
    made.add_argument("name", metavar="KEY")
    made.add_argument("value", metavar="VALUE", help="JSON, or a text; - reads standard input")
    made.add_argument("--ttl", type=float, metavar="SECONDS", help="until it expires")
    made.add_argument("--if-revision", type=int, metavar="N", help="only over this; 0: if absent")
    made = one("del", "remove keys")
    made.add_argument("names", metavar="KEY", nargs="+")
    made = one("ls", "list keys with their values")
    made.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help=PREFIX_HELP)
    made.add_argument("--names", action="store_true", help="only their names, as plain lines")


def _add_events(one: Command) -> None:
    made = one("publish", "append an event")
    made.add_argument("type", metavar="TYPE")
    made.add_argument("data", metavar="DATA", help="JSON, or a text; - reads standard input")
    made.add_argument("--about", metavar="KEY", help="the key it is about")
    made.add_argument("--tag", metavar="TAG", action="append", default=[])
    made = one("watch", "follow what happens to keys, from now on")
    made.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help=PREFIX_HELP)
    made = one("tail", "follow the log")
    made.add_argument("--since", default="now", metavar="OFFSET", help="0: all that is kept")
    made.add_argument("--types", metavar="TYPE,TYPE", help="only these")
    made.add_argument("--count", type=int, metavar="N", help="end after so many")


def _add_found(one: Command) -> None:
    made = one("find", "documents that pass a filter")
    made.add_argument("collection", metavar="COLLECTION")
    made.add_argument("filter", type=_json_object, nargs="?", metavar="FILTER", help="JSON")
    made.add_argument("--limit", type=int, metavar="N", help="at most so many")
    made = one("search", "documents or vectors by words and meaning")
    made.add_argument("collection", metavar="COLLECTION")
    made.add_argument("text", metavar="TEXT")
    made.add_argument(
        "-k", "--limit", dest="k", type=int, default=10, metavar="N", help="how many (default 10)"
    )
    made.add_argument("--filters", type=_json_object, metavar="FILTER", help="JSON")
    made.add_argument("--vectors", action="store_true", help="in a vector collection with texts")
    made = one("sql", "query, or execute a statement")
    made.add_argument("statement", metavar="STATEMENT")
    made.add_argument("params", metavar="PARAM", nargs="*", help="for ? in it; JSON, or texts")


def _add_files(one: Command) -> None:
    made = one("import", "load a file: of keys, documents or vectors")
    made.add_argument(
        "file", metavar="FILE", help=".jsonl, .csv, .parquet or .npy; - reads standard input"
    )
    _add_kinds(made, "as what the file is read, if its name does not say it (default jsonl)")
    made.add_argument("--id", default="id", metavar="FIELD", help="of a row (default id)")
    made.add_argument("--ids", metavar="FILE", help="of an array's rows, one a line or .npy")
    made.add_argument(
        "--metric",
        choices=("cosine", "dot", "l2"),
        help="of a collection of vectors that is made, if there is none (default cosine)",
    )
    made.add_argument("--texts", action="store_true", help="every cell of a CSV is a text")
    made.add_argument("--load-id", metavar="NAME", help="of a load that may be done again")
    made.add_argument(
        "--skip", type=_count, default=0, metavar="N", help="the first rows: they are done"
    )
    made = one("export", "write keys, documents or vectors into a file")
    made.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help=PREFIX_HELP)
    _add_kinds(made, "what is written, if the name of the file does not say it (default jsonl)")
    made.add_argument(
        "--output", default="-", metavar="FILE", help="instead of standard output; replaced whole"
    )
    made.add_argument("--ids", metavar="FILE", help="gets the ids of an array's rows")


def _add_kinds(made: Any, format_help: str) -> None:
    from kissvdb.commands.files.formats import FORMATS

    made.add_argument("--format", choices=FORMATS, help=format_help)
    made.add_argument("--collection", metavar="NAME", help="documents of it, instead of keys")
    made.add_argument("--vectors", metavar="NAME", help="vectors of this collection")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"a number from 0 on, not {text!r}")
    return int(text[:20])


def _json_object(text: str) -> dict[str, Any]:
    import msgspec

    try:
        found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ArgumentTypeError(f"a JSON object, such as '{{\"year\": 1990}}': {error}") from None
    return found
