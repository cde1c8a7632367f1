"""Every setting, its default and what it may be. Loaded once, passed down, never changed.

``Config()`` is the default server; embedders build their own with the section classes or with
``attrs.evolve``. A wrong type or value raises ConfigError wherever the section is made, so a
Config that exists is valid. Where values come from (files, environment, flags) is the business
of ``kissvdb.settings``. The last word of a name is its unit.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

import attrs

from kissvdb.errors import ConfigError

T = TypeVar("T")

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("text", "json")
UNKNOWN_FIELDS = ("refuse", "ignore")
EMBEDDER_KINDS = ("local", "openai", "sentence-transformers")
LOCAL_MODELS = ("minilm", "use", "e5")
EMBEDDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

ANY_ORIGIN = "*"

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s,]+")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_NETWORK = re.compile(r"[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?")
_KEY = re.compile(r"[\x21-\x7e]{0,256}")


@attrs.frozen
class Rule:
    """What a field may hold. ``least`` and ``most`` bound an int, ``choices`` a string.

    ``secret`` values are never shown. ``pattern`` must match a string, or each one of a tuple,
    as a whole; ``form`` says in words what it wants.
    """

    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    form: str = ""
    secret: bool = False

    def problem(self, value: object, kind: type) -> str | None:
        """Why ``value`` cannot be a field of type ``kind``, or None when it can."""
        if kind is int:
            if type(value) is not int:
                return f"must be an integer, not {_described(value)}"
            if not self.least <= value <= self.most:
                return f"must be between {self.least} and {self.most}, not {value}"
            return None
        if kind is bool:
            return None if type(value) is bool else f"must be true or false, not {value!r}"
        if kind is str:
            return self._text_problem(value)
        if not isinstance(value, tuple):
            return f"must be a list of strings, not {_described(value)}"
        return next(filter(None, map(self._text_problem, value)), None)

    def _text_problem(self, value: object) -> str | None:
        if not isinstance(value, str):
            return "must be a string" + ("" if self.secret else f", not {_described(value)}")
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, not {value!r}"
        if self.pattern is not None and not self.pattern.fullmatch(value):
            return f"must be {self.form}" + ("" if self.secret else f", not {value!r}")
        return None


def _described(value: object) -> str:
    names = {str: "the string", bool: "the boolean", int: "the integer", float: "the number"}
    return f"{names.get(type(value), type(value).__name__)} {value!r}"


def field_kind(attribute: "attrs.Attribute[Any]") -> type:
    """int, bool, str or tuple (of str): the only types a setting has."""
    kind = type(attribute.default)
    assert kind in (int, bool, str, tuple), f"{attribute.name}: no rule for {kind}"
    return kind


def _validate(section: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    problem = attribute.metadata["rule"].problem(value, field_kind(attribute))
    if problem is not None:
        raise ConfigError(f"{type(section).__name__.lower()}.{attribute.name} {problem}")


def _masked(value: str) -> str:
    return "'(set)'" if value else "''"


def _field(default: T, rule: Rule) -> T:
    shown: Any = _masked if rule.secret else True
    made: T = attrs.field(default=default, validator=_validate, repr=shown, metadata={"rule": rule})
    return made


def _int(default: int, least: int, most: int) -> int:
    return _field(default, Rule(least=least, most=most))


def _text(default: str, form: str, pattern: str, *, secret: bool = False) -> str:
    return _field(default, Rule(pattern=re.compile(pattern), form=form, secret=secret))


def _choice(default: str, choices: tuple[str, ...]) -> str:
    return _field(default, Rule(choices=choices))


def _switch(default: bool) -> bool:
    return _field(default, Rule())


def is_loopback(bind: str) -> bool:
    """Whether only this machine can reach ``bind``. A name other than localhost may resolve to
    anything, so it counts as reachable."""
    if bind == "localhost":
        return True
    try:
        return ip_address(bind).is_loopback
    except ValueError:
        return False


@attrs.frozen
class Server:
    """Where the daemon listens and who may talk to it."""

    bind: str = _text("127.0.0.1", "an IP address or a host name", r"[A-Za-z0-9._:%-]{1,253}")
    port: int = _int(9917, 0, 65535)
    unsafe_bind: bool = _switch(False)
    api_key: str = _text(
        "", "at most 256 visible ASCII characters without spaces", _KEY.pattern, secret=True
    )
    cors_allowed_origins: tuple[str, ...] = _field(
        (), Rule(pattern=_ORIGIN, form="origins such as https://example.org, or * for any")
    )
    hosts: tuple[str, ...] = _field(
        (), Rule(pattern=_HOST, form="host names such as db.example.org, without a port")
    )
    request_timeout_secs: int = _int(30, 1, 3600)
    slow_request_ms: int = _int(0, 0, 3_600_000)
    shutdown_timeout_secs: int = _int(10, 1, 600)
    connections_max: int = _int(4096, 1, 1_000_000)
    unknown_fields: str = _choice("refuse", UNKNOWN_FIELDS)
    trusted_proxies: tuple[str, ...] = _field(
        (), Rule(pattern=_NETWORK, form="IP addresses or networks such as 10.0.0.0/8")
    )

    def __attrs_post_init__(self) -> None:
        for each in self.trusted_proxies:
            try:
                ip_network(each, strict=False)
            except ValueError as error:
                raise ConfigError(f"server.trusted_proxies: {error}") from None
        host, _, port = self.bind.partition(":")
        if host and port.isdecimal():
            raise ConfigError(
                f"server.bind {self.bind!r} has a port: give the address alone, and the port as "
                f"--port {port} (server.port)"
            )
        if self.exposed and not self.unsafe_bind:
            raise ConfigError(
                f"server.bind {self.bind!r} can be reached from other machines and no API key is "
                "set: set server.api_key (RUSTKISS_API_KEY), or bind to 127.0.0.1, or give "
                "--unsafe-bind (server.unsafe_bind = true) to let everybody in"
            )

    @property
    def exposed(self) -> bool:
        """Other machines can reach the server and need no key."""
        return not self.api_key and not is_loopback(self.bind)


@attrs.frozen
class Http:
    """How HTTP connections are read. ``lane`` serves the hot routes on the fast listener."""

    lane: bool = _switch(True)
    header_bytes_max: int = _int(16 * KIB, KIB, MIB)
    header_timeout_secs: int = _int(10, 1, 600)
    idle_timeout_secs: int = _int(75, 1, 3600)


@attrs.frozen
class Storage:
    """Where data lives. ``memory`` wins over ``data_dir``: nothing touches the disk."""

    data_dir: str = _text("./data", "a path", r"[^\0]{1,4096}")
    memory: bool = _switch(False)
    snapshot_interval_secs: int = _int(30, 1, 86_400)


@attrs.frozen
class Log:
    """The event log's segment files: when to start a new one, how many to keep. ``io_uring``:
    write through the kernel's ring where it can be had, else in a thread."""

    segment_max_bytes: int = _int(64 * MIB, MIB, 16 * GIB)
    retention_segments: int = _int(8, 1, 1_000_000)
    io_uring: bool = _switch(True)


@attrs.frozen
class State:
    """The key-value tables. ``checkpoint_pages`` are 4 KiB pages of SQLite's write-ahead log.
    Keys that are asked for take ``cache_bytes`` of memory; 0: as the machine has it."""

    shards: int = _int(1, 1, 64)
    cache_bytes: int = _int(0, 0, 1024 * GIB)
    checkpoint_pages: int = _int(4000, 1, 1_000_000)
    mailbox_size: int = _int(4096, 1, 1_000_000)


@attrs.frozen
class Sql:
    """SQL: one command may change ``changes_max`` rows, noted in about ``bytes_max`` bytes of
    memory, and take ``exec_timeout_ms``. ``readers`` queries run at once, each as long as
    ``query_timeout_ms``."""

    enabled: bool = _switch(True)
    changes_max: int = _int(10_000, 1, 1_000_000)
    bytes_max: int = _int(32 * MIB, 64 * KIB, GIB)
    exec_timeout_ms: int = _int(5000, 10, 600_000)
    readers: int = _int(4, 1, 64)
    query_timeout_ms: int = _int(5000, 10, 600_000)
    query_rows_max: int = _int(10_000, 1, 1_000_000)
    query_bytes_max: int = _int(16 * MIB, 64 * KIB, GIB)


@attrs.frozen
class Stream:
    """The ring of recent events and the streams that read it."""

    ring_events: int = _int(10_000, 16, 100_000_000)
    ring_bytes_max: int = _int(64 * MIB, 64 * KIB, 64 * GIB)
    clients_max: int = _int(2000, 1, 1_000_000)
    heartbeat_secs: int = _int(15, 1, 29)
    send_bytes_max: int = _int(256 * KIB, 4 * KIB, 64 * MIB)


@attrs.frozen
class Limits:
    """What a request may hold. Lengths of text are in bytes of UTF-8."""

    body_bytes_max: int = _int(MIB, KIB, GIB)
    json_bytes_max: int = _int(64 * KIB, 1, 32 * MIB)
    text_bytes_max: int = _int(64 * KIB, 1, 32 * MIB)
    key_bytes_max: int = _int(512, 1, 64 * KIB)
    collection_bytes_max: int = _int(64, 1, 255)
    collections_max: int = _int(1024, 1, 65_536)
    vector_memory_bytes: int = _int(0, 0, 1024 * GIB)
    id_bytes_max: int = _int(128, 1, 64 * KIB)
    vector_dim_max: int = _int(4096, 1, 65_536)
    k_max: int = _int(256, 1, 100_000)
    state_batch_max: int = _int(256, 1, 100_000)
    vector_batch_max: int = _int(256, 1, 100_000)
    event_tags_max: int = _int(16, 0, 1024)
    event_type_bytes_max: int = _int(64, 1, 1024)
    list_limit_max: int = _int(1000, 1, 100_000)
    doc_find_max: int = _int(100, 1, 100_000)
    document_fields_max: int = _int(4096, 1, 1_000_000)
    document_depth_max: int = _int(64, 1, 128)
    keys_max: int = _int(10_000, 1, 100_000)
    batch_operations_max: int = _int(1000, 1, 100_000)
    batch_bytes_max: int = _int(4 * MIB, KIB, 256 * MIB)


@attrs.frozen
class Rate:
    """How much one key, or without keys one address, may ask for; 0 is no limit. A key may have
    limits of its own. A burst of 0 is what one second allows.

    ``failures``: wrong keys from one address. ``callers_max``: how many are remembered.
    """

    requests_per_sec: int = _int(0, 0, 1_000_000)
    requests_burst: int = _int(0, 0, 1_000_000)
    body_bytes_per_sec: int = _int(0, 0, 64 * GIB)
    body_bytes_burst: int = _int(0, 0, 64 * GIB)
    searches_max: int = _int(0, 0, 100_000)
    streams_max: int = _int(0, 0, 1_000_000)
    failures_burst: int = _int(20, 0, 1_000_000)
    failures_per_min: int = _int(60, 1, 1_000_000)
    callers_max: int = _int(10_000, 16, 1_000_000)


@attrs.frozen
class Audit:
    """Events about what admins did and who was refused. ``refusals_per_sec``: of one reason, that
    become events of their own; the others are counted in the next one."""

    enabled: bool = _switch(False)
    refusals_per_sec: int = _int(1, 1, 1000)


@attrs.frozen
class Search:
    """``threads`` run vector and text searches; 0 means one a core. ``build_threads`` build graphs;
    0 means half as many as cores. ``disk_max_degree`` and ``disk_list_size`` are those of a graph
    on disk that is built without saying them. With ``compile`` the kernels are compiled, once for a
    machine; without it searches stay exact and in numpy. Every ``audit_interval_secs`` (0: never)
    up to ``audit_queries`` searches are repeated exactly; recall under ``recall_percent_min`` is
    reported. While vectors of ``tail_bytes_max`` wait for their index, batches of more wait."""

    threads: int = _int(0, 0, 1024)
    build_threads: int = _int(0, 0, 1024)
    disk_max_degree: int = _int(32, 4, 1024)
    disk_list_size: int = _int(64, 8, 65_535)
    compile: bool = _switch(True)
    audit_interval_secs: int = _int(60, 0, 86_400)
    audit_queries: int = _int(16, 1, 1024)
    recall_percent_min: int = _int(95, 1, 100)
    tail_bytes_max: int = _int(128 * MIB, 256 * KIB, 1024 * GIB)


@attrs.frozen
class Embedder:
    """What makes vectors of texts. ``local``: a model in a process of its own; ``openai``: a
    service that speaks ``/v1/embeddings``; ``sentence-transformers``: a directory, likewise run in
    a process of its own. ``key_variable`` names the environment variable that has the service's
    key: the key itself is in no file. ``dimensions`` 0: what the local model has."""

    kind: str = _choice("local", EMBEDDER_KINDS)
    model: str = _text("minilm", "1 to 200 visible ASCII characters", r"[\x21-\x7e]{1,200}")
    query_model: str = _text("", "at most 200 visible ASCII characters", r"[\x21-\x7e]{0,200}")
    query_prefix: str = _text("", "at most 1000 characters", r"[^\0]{0,1000}")
    passage_prefix: str = _text("", "at most 1000 characters", r"[^\0]{0,1000}")
    path: str = _text("", "a path", r"[^\0]{0,4096}")
    base_url: str = _text("", "an http:// or https:// address", r"(https?://[^\s?#@]{1,1000})?")
    key_variable: str = _text("", "the name of a variable", r"([A-Za-z_][A-Za-z0-9_]{0,127})?")
    dimensions: int = _int(0, 0, 65_536)
    send_dimensions: bool = _switch(False)
    model_threads: int = _int(1, 1, 64)
    requests_max: int = _int(2, 1, 64)
    batch_texts: int = _int(16, 1, 2048)
    batch_chars_max: int = _int(64 * KIB, KIB, 16 * MIB)
    queue_texts_max: int = _int(4096, 1, 1_000_000)
    cache_bytes_max: int = _int(32 * MIB, 0, 16 * GIB)
    timeout_secs: int = _int(60, 1, 600)
    retries: int = _int(3, 0, 10)


@attrs.frozen
class Logs:
    """What the daemon says about itself, on standard error."""

    level: str = _choice("info", LEVELS)
    format: str = _choice("text", FORMATS)


@attrs.frozen
class Telemetry:
    """Traces for a collector that speaks OTLP over HTTP; needs the extra ``otel``.
    ``otlp_endpoint`` empty: what OTEL_EXPORTER_OTLP_ENDPOINT says. ``sample_percent``: of
    requests that come without a ``traceparent``."""

    enabled: bool = _switch(False)
    otlp_endpoint: str = _text(
        "", "an http:// or https:// address", r"(https?://[^\s?#@]{1,1000})?"
    )
    sample_percent: int = _int(100, 0, 100)

    @property
    def is_on(self) -> bool:
        return self.enabled or bool(self.otlp_endpoint)


@attrs.frozen
class Config:
    """All sections. Frozen: change one with ``attrs.evolve``.

    ``embedder`` is the one called "default"; ``embedders`` has more, by name."""

    server: Server = attrs.field(factory=Server)
    http: Http = attrs.field(factory=Http)
    storage: Storage = attrs.field(factory=Storage)
    log: Log = attrs.field(factory=Log)
    state: State = attrs.field(factory=State)
    sql: Sql = attrs.field(factory=Sql)
    stream: Stream = attrs.field(factory=Stream)
    limits: Limits = attrs.field(factory=Limits)
    rate: Rate = attrs.field(factory=Rate)
    audit: Audit = attrs.field(factory=Audit)
    telemetry: Telemetry = attrs.field(factory=Telemetry)
    search: Search = attrs.field(factory=Search)
    embedder: Embedder = attrs.field(factory=Embedder)
    logs: Logs = attrs.field(factory=Logs)
    embedders: Mapping[str, Embedder] = attrs.field(factory=dict)
