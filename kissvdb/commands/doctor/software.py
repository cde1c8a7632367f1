"""What is installed and how it is configured: no value of a secret, no key."""

import importlib.metadata
import os
import platform
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from kissvdb.commands.doctor.findings import NOTE, OK, PROBLEM, Finding
from kissvdb.config import Config
from kissvdb.settings import Loaded
from kissvdb.version import VERSION

SECTION = "software"
# Extras of those who work on kissvdb.
_FOR_US = ("dev", "docs", "bench")
_TESTED = ((3, 11), (3, 13))


def look(loaded: Loaded) -> Iterator[Finding]:
    """The interpreter, the packages, the kernels, and where settings come from."""
    yield Finding(SECTION, "kissvdb", f"{VERSION} in {Path(__file__).parents[2]}")
    tested = _TESTED[0] <= sys.version_info[:2] <= _TESTED[1]
    advice = "" if tested else "tested with 3.11, 3.12 and 3.13"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding(SECTION, "python", python, OK if tested else NOTE, advice)
    yield from _packages()
    yield Finding(SECTION, "sqlite", {"apsw": _apsw(), "python": sqlite3.sqlite_version})
    yield from _kernels(loaded.config)
    yield from _settings(loaded)
    yield from _port(loaded.config)


def requirements() -> dict[str, str]:
    """What kissvdb asks for: the name of each package, and the extra it is of ("" for none)."""
    found: dict[str, str] = {}
    for line in importlib.metadata.requires("kissvdb") or ():
        text, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip().strip("\"'") if marker else ""
        name = text.strip()
        for index, char in enumerate(name):
            if not (char.isalnum() or char in "._-"):
                name = name[:index]
                break
        if name != "kissvdb" and extra not in _FOR_US:
            found.setdefault(name, extra)
    return found


def _packages() -> Iterator[Finding]:
    there: dict[str, str] = {}
    more: dict[str, str] = {}
    missing = []
    for name, extra in requirements().items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if not extra:
                missing.append(name)
            continue
        (more if extra else there)[name] = version
    yield Finding(SECTION, "packages", there)
    yield Finding(SECTION, "of extras", more)
    if missing:
        yield Finding(SECTION, "missing", missing, PROBLEM, "pip install kissvdb again")


def _apsw() -> str:
    import apsw

    return apsw.sqlite_lib_version()


def _kernels(config: Config) -> Iterator[Finding]:
    from kissvdb.engine.vectors import compilation

    # Where a server looks, without making any of these places.
    storage = config.storage
    given = os.environ.get(compilation.CACHE_VARIABLE)
    data_dir = None if storage.memory else Path(storage.data_dir)
    places = [Path(given)] if given else compilation.cache_places(data_dir)
    warm = next((place for place in places if compilation.is_warm(place)), None)
    if warm is not None:
        yield Finding(SECTION, "kernels", f"compiled, in {warm}")
    elif config.search.compile:
        advice = "the first start compiles them, for a minute: `kissvdb warmup` does it now"
        yield Finding(SECTION, "kernels", "not compiled", NOTE, advice)
    else:
        yield Finding(SECTION, "kernels", "switched off (search.compile)")


def _settings(loaded: Loaded) -> Iterator[Finding]:
    """Which settings are not as they come, and who says so: never their values."""
    said: dict[str, list[str]] = {}
    for name, origin in loaded.origins.items():
        if origin != "default":
            said.setdefault(origin, []).append(name)
    origins = [f"{origin}: {', '.join(names)}" for origin, names in said.items()]
    yield Finding(SECTION, "settings from", origins)
    for notice in loaded.notices:
        yield Finding(SECTION, "settings", notice, NOTE, "")
    if loaded.config.server.exposed:
        advice = "anybody may read and write: set server.api_key, or bind to 127.0.0.1"
        yield Finding(SECTION, "open to all", True, NOTE, advice)


def _port(config: Config) -> Iterator[Finding]:
    bind, port = config.server.bind, config.server.port
    address = f"{bind} port {port}"
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
    except OSError as error:
        advice = f"{error.strerror}: a server runs there already, or choose another with --port"
        yield Finding(SECTION, "address", address, NOTE, advice)
        return
    yield Finding(SECTION, "address", f"{address} is free")
