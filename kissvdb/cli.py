"""The commands. Each imports what it needs when it runs, so that ``--help`` stays quick."""

import argparse
import errno
import gc
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kissvdb.commands import indexes, key_arguments, terminal
from kissvdb.commands.complete import command as completion
from kissvdb.commands.diskann import command as diskann
from kissvdb.commands.doctor import command as doctor
from kissvdb.commands.service import command as service
from kissvdb.errors import OUT_OF_RESOURCES, ConfigError, KissError
from kissvdb.version import VERSION

if TYPE_CHECKING:
    from kissvdb.config import Server
    from kissvdb.settings import Loaded

OFFSET_MAX = 2**64 - 1
IMPORTED_OBJECTS = 50_000
_ADDRESS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)

_DESCRIPTION = "A convergent real-time database: state, one event log and live streams."
_EPILOG = "Without a command: serve. `kissvdb COMMAND --help` shows the flags of a command."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer the exit code: 0 done, 1 failed (one line says why), 2 usage."""
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output left (`| head`): Python must not flush into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KissError as error:
        return _fail(error.message)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(f"no room ({error}): make room in the data directory, or for the output")
        if error.errno in OUT_OF_RESOURCES:
            return _fail(f"{error}: raise the limit of open files (ulimit -n)")
        named = error.filename is not None and error.strerror
        return _fail(f"{error.filename}: {error.strerror}" if named else str(error))
    except KeyboardInterrupt:
        return 130
    return code


def _fail(message: str) -> int:
    print(f"kissvdb: {message}", file=sys.stderr)
    return 1


def serve(arguments: argparse.Namespace) -> int:
    # What is imported stays: to look at it for cycles again and again is a seventh of a start.
    gc.set_threshold(IMPORTED_OBJECTS, 20, 20)
    loaded = _load(arguments)
    import socket

    import kissvdb.daemon

    try:
        return kissvdb.daemon.serve(loaded, arguments.url_file)
    except OSError as error:
        about_file = error.filename is not None
        if about_file or not (error.errno in _ADDRESS_ERRORS or isinstance(error, socket.gaierror)):
            raise
        server = loaded.config.server
        message = f"cannot listen on {server.bind} port {server.port}: {error.strerror}"
        return _fail(f"{message}; choose another with --port or --bind")


def config(arguments: argparse.Namespace) -> int:
    from kissvdb.settings import describe

    return _print_lines(describe(_load(arguments)))


def check(arguments: argparse.Namespace) -> int:
    directory = _data_dir(arguments)
    from kissvdb.storage import check

    if arguments.repair:
        repaired = check.repair(directory)
        _print_lines(repaired.lines())
        return 0 if repaired.ok else 1
    if arguments.deep:
        import kissvdb.commands.deep_check

        report = kissvdb.commands.deep_check.check(directory)
    else:
        from kissvdb.engine.vectors.collection_store import verify_rows

        report = check.check(directory, verify_rows)
    _print_lines(report.lines())
    return 0 if report.ok else 1


def log_dump(arguments: argparse.Namespace) -> int:
    directory = _data_dir(arguments)
    import kissvdb.commands.log_dump

    return _print_lines(kissvdb.commands.log_dump.dump(directory, arguments.since))


def backup(arguments: argparse.Namespace) -> int:
    url, api_key = _server_of(arguments)
    import kissvdb.commands.backup

    offset = kissvdb.commands.backup.fetch(url, api_key, Path(arguments.directory))
    return _print_lines([f"{arguments.directory} holds {url}, at offset {offset}"])


def restore(arguments: argparse.Namespace) -> int:
    directory = _data_dir(arguments)
    from kissvdb.storage import backup

    offset = backup.restore(Path(arguments.backup), directory)
    return _print_lines([f"{directory} holds {arguments.backup}, at offset {offset}"])


def vacuum(arguments: argparse.Namespace) -> int:
    config = _load(arguments).config
    import kissvdb.commands.vacuum

    url = arguments.url or _local_url(config.server)
    removed = kissvdb.commands.vacuum.vacuum(url, config, arguments.collection)
    return _print_lines([f"{arguments.collection}: {removed} dead rows removed"])


def _server_of(arguments: argparse.Namespace) -> tuple[str, str]:
    """Where the server is, and its key: flags, what the clients read, the configuration."""
    server = _load(arguments).config.server
    url = arguments.url or os.environ.get("KISSVDB_URL") or _local_url(server)
    by_flag = any(name == "server.api_key" for name, _, _ in arguments.flags)
    return url, server.api_key if by_flag else os.environ.get("KISSVDB_KEY") or server.api_key


def warmup(arguments: argparse.Namespace) -> int:
    storage = _load(arguments).config.storage
    from kissvdb.engine.vectors import compilation

    directory = compilation.claim_cache(None if storage.memory else Path(storage.data_dir))
    quiet = arguments.quiet or arguments.child
    if arguments.child:
        compilation.end_with_parent()
    if quiet:
        os.nice(10)
    done = compilation.warm_alone(directory)
    if quiet:
        return 0
    what = f"compiled {done.compiled} kernels, loaded {done.loaded}"
    return _print_lines([f"{what}, in {done.seconds:.1f} s; the code is in {directory}"])


def mcp(arguments: argparse.Namespace) -> int:
    from kissvdb.commands import mcp as bridge

    return bridge.run(arguments.url, arguments.key)


def openapi(arguments: argparse.Namespace) -> int:
    from kissvdb.api.description import openapi
    from kissvdb.api.routes import ROUTES

    return _print_lines([openapi.document(ROUTES).rstrip("\n")])


def _print_lines(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    return 0


def settings_of(argv: Sequence[str]) -> "Loaded":
    """The settings that a command line means, for programs that start the command. Raises
    ConfigError; leaves with 2 for wrong usage."""
    return _load(_parse(argv))


def _load(arguments: argparse.Namespace) -> "Loaded":
    from kissvdb.settings import Flag, load

    flags = [Flag(*flag) for flag in arguments.flags]
    return load(flags, config_file=arguments.config, env_file=arguments.env_file)


def _data_dir(arguments: argparse.Namespace) -> Path:
    if getattr(arguments, "directory", None):
        return Path(arguments.directory)
    storage = _load(arguments).config.storage
    if storage.memory:
        raise ConfigError("storage.memory is on: there is no data directory; give --data-dir")
    return Path(storage.data_dir)


def _local_url(server: "Server") -> str:
    """Where a server with this configuration is reached from its own machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.bind, server.bind)
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


class _Set(argparse.Action):
    """Collect flags that are settings, as the fields of ``settings.Flag``, in their order.

    ``setting`` None means that the value is NAME=VALUE.
    """

    def __init__(self, *args: Any, setting: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.setting = setting

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        name, text = self.setting, "true" if self.nargs == 0 else str(values)
        if name is None:
            name, equals, text = text.partition("=")
            if not equals:
                parser.error(f"{option_string} wants SECTION.FIELD=VALUE, not {name!r}")
        namespace.flags = (*namespace.flags, (name, text, f"flag {option_string}"))


def _flags(**options: Any) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False, allow_abbrev=False, **options)


def _shared_flags() -> tuple[argparse.ArgumentParser, ...]:
    """The flags that commands have in common: sources of settings, data directory, serving."""
    sources = _flags()
    sources.add_argument("--config", metavar="FILE", help="TOML file (or KISSVDB_CONFIG)")
    sources.add_argument("--env-file", metavar="FILE", help="variables, instead of ./.env")
    sources.add_argument(
        "--set",
        action=_Set,
        dest="flags",
        metavar="SECTION.FIELD=VALUE",
        help="any setting, for example stream.ring_events=20000; repeatable",
    )
    data = _flags()
    _add(data, "storage.data_dir", "--data-dir", "--data", metavar="DIR", help="where data lives")
    serving = _flags(parents=[sources, data])
    _add(serving, "server.port", "--port", metavar="N", help="port to listen on")
    _add(serving, "server.bind", "--bind", "--host", metavar="ADDRESS", help="address to listen on")
    _add(serving, "server.unsafe_bind", "--unsafe-bind", nargs=0, help="no key on any address")
    _add(serving, "storage.memory", "--memory", nargs=0, help="keep nothing on disk")
    _add(serving, "logs.level", "--logs", metavar="LEVEL", help="debug to critical")
    return sources, data, serving


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser and its commands by name."""
    sources, data, serving = _shared_flags()
    parser = argparse.ArgumentParser(
        prog="kissvdb", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"kissvdb {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(group: Any, name: str, run: Any, help: str, *parents: Any) -> Any:
        made = group.add_parser(
            name, help=help, description=help, parents=parents, allow_abbrev=False
        )
        made.set_defaults(run=run, parser=made, flags=(), config=None, env_file=None)
        return made

    one = command(commands, "serve", serve, "run the database", serving)
    one.add_argument("--url-file", type=Path, metavar="FILE", help="gets the address, once served")
    command(commands, "config", config, "print every setting and where it came from", serving)
    one = command(commands, "check", check, "verify a data directory", sources, data)
    one.add_argument("directory", nargs="?", metavar="DIR", help="instead of --data-dir")
    one.add_argument("--repair", action="store_true", help="cut what is damaged, keep a copy")
    one.add_argument(
        "--deep", action="store_true", help="build every index anew and compare: takes minutes"
    )
    log = commands.add_parser("log", help="read the event log", allow_abbrev=False)
    log.set_defaults(parser=log)
    inner = log.add_subparsers(metavar="COMMAND", required=True)
    one = command(inner, "dump", log_dump, "print records as JSON lines", sources, data)
    one.add_argument("--since", type=_offset, default=0, metavar="N", help="after this offset")
    asking = _flags(parents=[sources])
    asking.add_argument("--url", type=_url, help="default: KISSVDB_URL, or as configured")
    said = "default: KISSVDB_KEY, or as configured"
    _add(asking, "server.api_key", "--key", "--api-key", metavar="KEY", help=said)
    one = command(commands, "backup", backup, "copy a running server at one offset", asking)
    one.add_argument("directory", metavar="DIR", help="a new directory")
    one = command(
        commands, "restore", restore, "fill a data directory from a backup", sources, data
    )
    one.add_argument("backup", metavar="BACKUP", help="a directory, or the tar of /v1/backup")
    one = command(commands, "vacuum", vacuum, "drop the dead rows of a collection", sources, data)
    one.add_argument("--collection", required=True, metavar="NAME")
    one.add_argument("--url", type=_url, help="default: the address in the configuration")
    _add(one, "server.api_key", "--key", "--api-key", metavar="KEY", help="default: as configured")
    key_arguments.add(commands, command, asking, _server_of)
    indexes.add(commands, command, asking, _server_of)
    diskann.add(commands, command, asking, _server_of)
    one = command(commands, "warmup", warmup, "compile the vector kernels now", sources, data)
    one.add_argument("--quiet", action="store_true", help="say nothing, and give way to others")
    # As a server starts it: quiet, and ends when its standard input does.
    one.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    command(commands, "openapi", openapi, "print the description of the HTTP API")
    one = command(commands, "mcp", mcp, "serve an agent: MCP on standard input and output")
    one.add_argument("--url", type=_url, help="default: KISSVDB_URL, or http://127.0.0.1:9917")
    one.add_argument("--key", help="default: KISSVDB_KEY")
    terminal.add_to(commands, command)
    doctor.add_to(commands, command, serving, _load)
    service.add_to(commands, command)
    completion.add_to(commands, command, parser)
    return parser, commands.choices


def _add(parser: argparse.ArgumentParser, setting: str, *names: str, **options: Any) -> None:
    parser.add_argument(*names, action=_Set, dest="flags", setting=setting, **options)


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= OFFSET_MAX):
        raise argparse.ArgumentTypeError(f"an offset is a number from 0 on, not {text!r}")
    return int(text)


def _url(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"an address looks like http://host:9917, not {text!r}")
    return text


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser, commands = _parser()
    first = argv[0] if argv else ""
    if not first or (first.startswith("-") and first not in ("-h", "--help", "--version")):
        argv = ["serve", *argv]
    elif not first.startswith("-") and first not in commands:
        known = [name for name in commands if not name.startswith("_")]
        there = f"there are {', '.join(known)}"
        parser.error(f"unknown command {first!r}{_nearest(first, known)}; {there}")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(arguments.parser, unknown)
    return arguments


def _refuse(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    if not flags:
        parser.error(f"unexpected argument {unknown[0]!r}")
    known = [name for action in parser._actions for name in action.option_strings]
    parser.error(f"unknown flag {flags[0]}{_nearest(flags[0], known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    from kissvdb.settings import nearest

    return nearest(name, known)


if __name__ == "__main__":
    sys.exit(main())
