"""Reading what settings are made of: variables, env files and TOML files, with line numbers.

Knows the names of variables and the forms of files; what a setting is and may be, no.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from kissvdb.config import MIB
from kissvdb.errors import ConfigError

FILE_BYTES_MAX = MIB
PREFIX = "KISSVDB_"
FILE_VARIABLE = "KISSVDB_CONFIG"
PROCESS_VARIABLES = {"KISSVDB_CPU": ("native", "portable", "avx2")}
"""Read by the kernels when they are imported, before any Config, and what they may say: only the
environment counts."""

# Names that deployments of RustKissVDB and Luma already set; the first that is set wins.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "server.bind": ("BIND_ADDR",),
    "server.port": ("PORT_RUST_KISS_VDB", "PORT_LUMA_VDB"),
    "server.api_key": ("RUSTKISS_API_KEY", "API_KEY"),
    "server.cors_allowed_origins": ("CORS_ALLOWED_ORIGINS",),
    "server.request_timeout_secs": ("REQUEST_TIMEOUT_SECS",),
    "storage.data_dir": ("DATA_DIR",),
    "storage.snapshot_interval_secs": ("SNAPSHOT_INTERVAL_SECS",),
    "log.segment_max_bytes": ("WAL_SEGMENT_MAX_BYTES",),
    "log.retention_segments": ("WAL_RETENTION_SEGMENTS",),
    "state.shards": ("STATE_SHARDS",),
    "sql.enabled": ("SQLITE_ENABLED",),
    "stream.ring_events": ("EVENT_BUFFER_SIZE",),
    "limits.body_bytes_max": ("MAX_BODY_BYTES",),
    "limits.json_bytes_max": ("MAX_JSON_BYTES",),
    "limits.key_bytes_max": ("MAX_KEY_LEN",),
    "limits.collection_bytes_max": ("MAX_COLLECTION_LEN",),
    "limits.id_bytes_max": ("MAX_ID_LEN",),
    "limits.vector_dim_max": ("MAX_VECTOR_DIM",),
    "limits.vector_memory_bytes": ("VECTOR_MEMORY_BYTES",),
    "limits.k_max": ("MAX_K",),
    "limits.state_batch_max": ("MAX_STATE_BATCH",),
    "limits.vector_batch_max": ("MAX_VECTOR_BATCH",),
    "limits.doc_find_max": ("MAX_DOC_FIND",),
    "search.threads": ("SEARCH_THREADS",),
    "search.build_threads": ("DISKANN_BUILD_THREADS",),
    "search.disk_max_degree": ("DISKANN_MAX_DEGREE",),
    "search.disk_list_size": ("DISKANN_SEARCH_LIST_SIZE",),
}

WITHOUT_EFFECT = frozenset(
    {
        "LIVE_BROADCAST_CAPACITY",
        "SQLITE_DB_PATH",
        "INDEX_KIND",
        "IVF_CLUSTERS",
        "IVF_NPROBE",
        "IVF_MIN_TRAIN_VECTORS",
        "Q8_REFINE_TOPK",
        "PARALLEL_PROBE",
        "SIMD_ENABLED",
        "RUN_TARGET_BYTES",
        "RUN_RETENTION",
        "COMPACTION_TRIGGER_TOMBSTONE_RATIO",
    }
)
"""The seed's names that are accepted so that its deployments start, and do nothing here yet."""

# Kubernetes sets these in every pod beside a service that is called kissvdb, or kissvdb-server;
# Docker in a container that is linked to one.
_SERVICE_LINK = re.compile(
    r"KISSVDB_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*|ENV_\w+)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")

_OWN_NAME = re.compile(r"KISSVDB_|RUSTKISS_|PORT_(RUST_KISS|LUMA)_VDB$")
_ENV_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


@attrs.frozen
class Entry:
    """A section (``name`` without a dot) or a key of a TOML file, and its ``file:line``."""

    name: str
    value: object
    origin: str


@attrs.frozen
class Variable:
    """A line of an env file: its value, and where it stands (``.env:3 NAME``)."""

    value: str
    origin: str


def is_foreign(name: str, value: str) -> bool:
    """A variable with our prefix that an orchestrator made for a service of our name, such as
    ``KISSVDB_PORT=tcp://10.0.0.1:9917``: it says where others are, not what we shall do."""
    if not name.startswith(PREFIX):
        return False
    if name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None


def read_toml(file: str) -> Iterator[Entry]:
    """Every section of ``file``, each followed by its keys. Raises ConfigError."""
    text = _read_text(Path(file))
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None
    lines = _toml_lines(text)

    def entry(name: str, value: object) -> Entry:
        return Entry(name, value, f"{file}:{lines[name]}" if name in lines else file)

    for section, fields in document.items():
        yield entry(section, fields)
        if isinstance(fields, dict):
            for field, value in fields.items():
                yield entry(f"{section}.{field}", value)
                if isinstance(value, dict):
                    for inner, content in value.items():
                        yield entry(f"{section}.{field}.{inner}", content)


def read_env_file(path: Path, wanted: Callable[[str], bool], label: str) -> dict[str, Variable]:
    """The variables with a ``wanted`` name; everything else in the file is not ours.

    Lines are ``NAME=VALUE``, also ``export NAME=VALUE``, the value bare or in quotes, with
    ``#`` comments; nothing is expanded. ``label`` is what messages call the file. Raises
    ConfigError.
    """
    found: dict[str, Variable] = {}
    for number, name, value in _env_lines(path):
        if wanted(name):
            origin = f"{label}:{number} {name}"
            found[name] = Variable(_unquoted(value, origin), origin)
    return found


def why_left_alone(path: Path) -> str | None:
    """Why a ``.env`` that nobody named is not read: nothing in it is by its name kissvdb's, so it
    is another program's, whose ``API_KEY`` or ``DATA_DIR`` are not for us. None: it is ours."""
    try:
        if any(map(_OWN_NAME.match, (name for _, name, _ in _env_lines(path)))):
            return None
        reason = "it has no KISSVDB_ or RUSTKISS_ name, so it is another program's"
    except ConfigError as error:
        reason = error.message
    return f".env in the working directory is left alone: {reason}; --env-file .env reads it"


def _env_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, name and unparsed value of each line that sets a variable."""
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        match = _ENV_LINE.fullmatch(line)
        if match is not None:
            yield number, match[1], match[2]


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _toml_lines(text: str) -> dict[str, int]:
    """The line of each section and key, found by their usual forms; tomllib does not tell."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            section = header[1]
            lines.setdefault(section, number)
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            lines.setdefault(f"{section}.{key[1]}" if section else key[1], number)
    return lines


def _unquoted(value: str, origin: str) -> str:
    if value[:1] in ("'", '"'):
        quoted = re.fullmatch(r"""(["'])(.*?)\1\s*(?:#.*)?""", value)
        if quoted is None:
            raise ConfigError(f"a quote is not closed (from: {origin})")
        return quoted[2]
    return re.split(r"\s+#|^#", value, maxsplit=1)[0].rstrip()
