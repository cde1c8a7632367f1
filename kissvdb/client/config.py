"""Where the server is, and how patient a client is with it."""

import os
from typing import Any

import msgspec

URL_DEFAULT = "http://127.0.0.1:9917"
URL_NAMES = ("KISSVDB_URL", "KISS_VDB_URL", "RUSTKISS_URL", "VDB_BASE_URL")
KEY_NAMES = ("KISSVDB_KEY", "KISS_VDB_KEY", "RUSTKISS_API_KEY", "API_KEY")
TIMEOUT_NAMES = ("KISSVDB_TIMEOUT", "RUSTKISS_TIMEOUT")

_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True):
    """Where to connect to. ``host`` as the header says it, ``path`` what a proxy has in front."""

    address: str
    port: int
    tls: bool
    host: str
    path: str


class Config(msgspec.Struct, frozen=True):
    """``timeout_secs`` is for a whole call, its repeats included. ``retries``: how often a call is
    sent again that could not be answered, if that is safe. ``op_ids``: give every write an id, so
    that it is; without, a write whose answer is lost raises OutcomeUnknown."""

    url: str = URL_DEFAULT
    key: str | None = None
    timeout_secs: float = 30.0
    retries: int = 8
    op_ids: bool = True
    read_your_writes: bool = True
    """Reads tell the server the newest offset that this client knows of."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = [(name, getattr(self, name)) for name in self.__struct_fields__]
        # A key is not shown.
        return [(name, "..." if name == "key" and value else value) for name, value in shown]

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    @classmethod
    def from_env(cls, env_file: str | os.PathLike[str] | None = ".env") -> "Config":
        """From KISSVDB_URL, KISSVDB_KEY and KISSVDB_TIMEOUT (and the names they had), in the
        environment or else in ``env_file``, if there is one. Raises ValueError."""
        found = {} if env_file is None else _read(env_file)
        found.update(os.environ)
        timeout = _first(found, TIMEOUT_NAMES)
        try:
            seconds = 30.0 if timeout is None else float(timeout)
        except ValueError:
            raise ValueError(f"{TIMEOUT_NAMES[0]}: a number of seconds, not {timeout!r}") from None
        url = _first(found, URL_NAMES) or URL_DEFAULT
        return cls(url=url, key=_first(found, KEY_NAMES), timeout_secs=seconds)

    def origin(self) -> Origin:
        """The parts of ``url``. Raises ValueError."""
        from urllib.parse import urlsplit

        parts = urlsplit(self.url if "://" in self.url else f"http://{self.url}")
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"url: http://HOST:PORT or https://HOST, not {self.url!r}")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"url: host and path only, not {self.url!r}; a key goes into key=")
        port = parts.port or _PORTS[parts.scheme]
        return Origin(
            parts.hostname, port, parts.scheme == "https", parts.netloc, parts.path.rstrip("/")
        )


def _first(found: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((found[name] for name in names if found.get(name)), None)


def _read(path: str | os.PathLike[str]) -> dict[str, str]:
    """NAME=VALUE lines; what is none of these is somebody else's."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return {}
    found = {}
    for line in text.splitlines():
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found
