"""Where settings come from: defaults < TOML file < env file < environment < flags.

``load`` answers a valid Config and, for every setting, the text that says where its value came
from. What is invalid, and an unknown flag or field of a file, is a ConfigError that names the
setting, its source and what is allowed. An unknown variable is only a notice: others set variables
as well. Text (environment, env file, flags) is parsed by the field's type; TOML values must have
the type, except that a size may be written as ``"64MiB"``.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from kissvdb.config import ANY_ORIGIN, EMBEDDER_NAME, Config, Embedder, Rule, field_kind
from kissvdb.errors import ConfigError
from kissvdb.sources import (
    ALIASES,
    FILE_VARIABLE,
    PREFIX,
    PROCESS_VARIABLES,
    WITHOUT_EFFECT,
    Entry,
    Variable,
    is_foreign,
    read_env_file,
    read_toml,
    why_left_alone,
)

T = TypeVar("T")

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True}
_BOOLEANS |= {"false": False, "0": False, "no": False, "off": False}
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,19})\s*(b|kb|mb|gb|kib|mib|gib)?", re.ASCII | re.IGNORECASE)
_UNIT_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_UNIT_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}


@attrs.frozen
class Setting:
    """One row of the table. ``kind`` is int, bool, str or tuple (of str)."""

    section: str
    field: str
    kind: type
    rule: Rule
    default: object

    @property
    def name(self) -> str:
        return f"{self.section}.{self.field}"

    @property
    def environment_names(self) -> tuple[str, ...]:
        """All names the environment may use, the strongest first."""
        names = [f"{PREFIX}{self.section}_{self.field}"]
        if self.field not in AMBIGUOUS:
            names.append(f"{PREFIX}{self.field}")
        return (*map(str.upper, names), *self.older_names)

    @property
    def older_names(self) -> tuple[str, ...]:
        """Those that other servers' deployments set."""
        return ALIASES.get(self.name, ())

    @property
    def is_size(self) -> bool:
        """An amount of bytes: may be written as 64MiB."""
        return self.kind is int and "bytes" in self.field.split("_")

    def parse(self, text: str) -> object:
        """The value that ``text`` means. Raises ValueError with what is allowed."""
        if self.is_size:
            return parse_size(text)
        if self.kind is int:
            if not _INTEGER.fullmatch(text.strip()):
                raise ValueError(f"must be an integer, not {text!r}")
            return int(text)
        if self.kind is bool:
            if text.strip().lower() not in _BOOLEANS:
                raise ValueError(f"must be true or false, not {text!r}")
            return _BOOLEANS[text.strip().lower()]
        if self.kind is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return text


AMBIGUOUS = frozenset({"enabled"})
"""Fields whose names say nothing without their section: no short variable."""

NAMED = "embedders"
"""``[embedders.NAME]`` is a section of its own for each name, with the fields of ``embedder``."""


def _rows(section: str, of: type) -> dict[str, Setting]:
    fields = attrs.fields(of)
    rows = [Setting(section, f.name, field_kind(f), f.metadata["rule"], f.default) for f in fields]
    return {row.name: row for row in rows}


def _table() -> dict[str, Setting]:
    rows: dict[str, Setting] = {}
    for section in attrs.fields(Config):
        if section.name != NAMED:
            assert section.type is not None
            rows |= _rows(section.name, section.type)
    return rows


SETTINGS: Mapping[str, Setting] = _table()


def setting_of(name: str) -> Setting | None:
    """The row of ``section.field`` or of ``embedders.NAME.field``; None: no such setting."""
    section, _, field = name.rpartition(".")
    of, _, embedder = section.partition(".")
    if of == NAMED and embedder != "default" and EMBEDDER_NAME.fullmatch(embedder):
        return _rows(section, Embedder).get(f"{section}.{field}")
    return SETTINGS.get(name)


def _section(config: Config, name: str) -> object:
    of, _, embedder = name.partition(".")
    return config.embedders[embedder] if embedder else getattr(config, of)


_SECTIONS = tuple(dict.fromkeys(row.section for row in SETTINGS.values()))
_BY_VARIABLE = {name: row for row in SETTINGS.values() for name in row.environment_names}


@attrs.frozen
class Flag:
    """A setting given on the command line; ``origin`` is the flag as the user typed it."""

    setting: str
    text: str
    origin: str


@attrs.frozen
class Loaded:
    """A valid Config, where each setting came from (by ``section.field``), and what to warn of."""

    config: Config
    origins: Mapping[str, str]
    notices: tuple[str, ...] = ()


@attrs.frozen
class _Candidate:
    setting: Setting
    value: object
    origin: str


def load(
    flags: Sequence[Flag] = (),
    *,
    config_file: str | None = None,
    env_file: str | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Loaded:
    """Read all sources. ``config_file`` wins over KISSVDB_CONFIG; without both no TOML is read.

    ``environ`` defaults to the process's. Without an ``env_file``, the ``.env`` in ``directory``,
    by default the working directory, is read if it is by its names kissvdb's. Raises ConfigError.
    """
    environ = dict(os.environ if environ is None else environ)
    for name, known in PROCESS_VARIABLES.items():
        value = environ.pop(name, "")
        if value and value not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    dotenv, left_alone = _dotenv(env_file, directory or Path.cwd())
    written = {name: variable.value for name, variable in dotenv.items()}
    config_file = config_file or environ.get(FILE_VARIABLE) or written.get(FILE_VARIABLE)

    sources = [
        (written, lambda name: dotenv[name].origin),
        (environ, lambda name: f"environment {name}"),
    ]
    candidates = list(_from_toml(config_file)) if config_file else []
    for variables, origin_of in sources:
        candidates += _from_variables(variables, origin_of)
    candidates += map(_from_flag, flags)

    values: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    origins = dict.fromkeys(SETTINGS, "default")
    for candidate in candidates:
        problem = candidate.setting.rule.problem(candidate.value, candidate.setting.kind)
        if problem is not None:
            raise _invalid(candidate.setting, problem, candidate.origin)
        section = values.setdefault(candidate.setting.section, {})
        section[candidate.setting.field] = candidate.value
        origins[candidate.setting.name] = candidate.origin
    try:
        config = _structured(values)
    except ConfigError as error:
        # Single values were checked above: what is left is the bind that needs a key.
        origin = origins["server.bind"]
        raise ConfigError(f"{error.message} (server.bind is from: {origin})") from None
    notices = [*left_alone, *_notices(config, [*written, *environ])]
    for variables, origin_of in sources:
        notices += _not_settings(variables, origin_of)
    return Loaded(config, origins, tuple(notices))


def parse_size(text: str) -> int:
    """Bytes of ``65536``, ``64KiB``, ``64 MB``. Raises ValueError with what is allowed."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"must be a number of bytes or a size such as 64MiB, not {text!r}")
    return int(match[1]) * _UNIT_BYTES[(match[2] or "b").lower()]


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` for the most similar known name, or nothing when none is close."""
    known = tuple(known)
    ending = [one for one in known if one.rpartition(".")[2] == name]
    close = ending or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(setting: Setting, value: object) -> str:
    """``value`` as TOML, a secret masked."""
    if setting.rule.secret:
        return '"********"' if value else '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_quoted, value)) + "]"
    return _quoted(value) if isinstance(value, str) else str(value)


def describe(loaded: Loaded) -> Iterator[str]:
    """The effective configuration as lines of TOML, each with its origin as a comment."""
    config = loaded.config
    rows = dict(SETTINGS)
    for name in config.embedders:
        rows |= _rows(f"{NAMED}.{name}", Embedder)
    for number, section in enumerate(dict.fromkeys(row.section for row in rows.values())):
        yield f"\n[{section}]" if number else f"[{section}]"
        for row in rows.values():
            if row.section == section:
                value = getattr(_section(config, section), row.field)
                line = f"{row.field} = {shown(row, value)}"
                yield f"{line:<40} # {loaded.origins.get(row.name, 'default')}"
    if loaded.notices:
        yield ""
    yield from (f"# note: {notice}" for notice in loaded.notices)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _structured(values: Mapping[str, Mapping[str, object]]) -> Config:
    import cattrs  # takes as long to import as the rest of the command line together

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    # cattrs would turn "5" into 5 and 1 into True; the fields' own rules refuse them instead.
    for kind in (int, bool, str):
        converter.register_structure_hook(kind, _unchanged)
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _unchanged)
    fixed = {name: fields for name, fields in values.items() if "." not in name}
    named = {
        name.partition(".")[2]: converter.structure(fields, Embedder)
        for name, fields in values.items()
        if "." in name
    }
    return attrs.evolve(converter.structure(fixed, Config), embedders=named)


def _unchanged(value: T, _: object) -> T:
    return value


def _invalid(setting: Setting, problem: str, origin: str) -> ConfigError:
    return ConfigError(f"{setting.name} {problem} (from: {origin})")


def _notices(config: Config, names: Sequence[str]) -> Iterator[str]:
    if config.server.exposed:
        yield (
            f"server.bind {config.server.bind!r} is open to other machines without an API key: "
            "anybody who can reach it can read and change everything"
        )
    if ANY_ORIGIN in config.server.cors_allowed_origins and not config.server.api_key:
        yield (
            "server.cors_allowed_origins has * and no API key is set: any web page that a browser "
            "on this machine opens can read and change everything"
        )
    for name in sorted(WITHOUT_EFFECT.intersection(names)):
        yield f"{name} is accepted and has no effect here yet"


def _from_flag(flag: Flag) -> _Candidate:
    setting = setting_of(flag.setting)
    if setting is None:
        hint = nearest(flag.setting, SETTINGS)
        raise ConfigError(f"{flag.setting} is not a setting (from: {flag.origin}){hint}")
    return _parsed(setting, flag.text, flag.origin)


def _from_variables(
    variables: Mapping[str, str], origin_of: Callable[[str], str]
) -> Iterator[_Candidate]:
    for setting in SETTINGS.values():
        # Empty means unset: `API_KEY=` in a compose file must not switch a key off.
        for name in setting.environment_names:
            text = variables.get(name)
            if text and not is_foreign(name, text):
                yield _parsed(setting, text, origin_of(name))
                break


_OTHERS = frozenset({FILE_VARIABLE, "KISSVDB_URL", "KISSVDB_KEY", "KISSVDB_TIMEOUT"})
"""No settings, but read: the name of the file, and what clients and commands ask a server by."""


def _not_settings(variables: Mapping[str, str], origin_of: Callable[[str], str]) -> Iterator[str]:
    """A line for each variable with our prefix that means nothing, one for all of a service's."""
    of_a_service = [name for name, value in variables.items() if is_foreign(name, value)]
    if of_a_service:
        yield (
            f"{', '.join(sorted(of_a_service))}: not settings but what an orchestrator sets for a "
            f"service called kissvdb; left alone (from: {origin_of(min(of_a_service))})"
        )
    for name, value in variables.items():
        known = name in _BY_VARIABLE or name in _OTHERS or name in of_a_service
        if name.startswith(PREFIX) and value and not known:
            hint = nearest(name, _BY_VARIABLE)
            yield f"{name} is not a setting and is left alone (from: {origin_of(name)}){hint}"


def _dotenv(named: str | None, directory: Path) -> tuple[Mapping[str, Variable], list[str]]:
    """What is read of an env file, and what is to be said of one that is not."""
    if named:
        return read_env_file(Path(named), _is_ours, named), []
    path = directory / ".env"
    if not path.is_file():
        return {}, []
    reason = why_left_alone(path)
    if reason is not None:
        return {}, [reason]
    return read_env_file(path, _is_ours, ".env"), []


def _is_ours(name: str) -> bool:
    """What an env file is read for: with our prefix also misspelt names, so that they are told."""
    return name.startswith(PREFIX) or name in _BY_VARIABLE or name in WITHOUT_EFFECT


def _parsed(setting: Setting, text: str, origin: str) -> _Candidate:
    try:
        return _Candidate(setting, setting.parse(text), origin)
    except ValueError as error:
        raise _invalid(setting, str(error), origin) from None


def _from_toml(file: str) -> Iterator[_Candidate]:
    for entry in read_toml(file):
        setting = setting_of(entry.name)
        if setting is None:
            _require_section(entry)
        elif setting.is_size and isinstance(entry.value, str):
            yield _parsed(setting, entry.value, entry.origin)
        else:
            value = tuple(entry.value) if isinstance(entry.value, list) else entry.value
            yield _Candidate(setting, value, entry.origin)


def _require_section(entry: Entry) -> None:
    section, _, name = entry.name.partition(".")
    if section == NAMED and name == "default":
        raise ConfigError(f"the one called default is [embedder] itself (from: {entry.origin})")
    if entry.name not in _SECTIONS and not (
        section == NAMED and (not name or EMBEDDER_NAME.fullmatch(name))
    ):
        is_section = isinstance(entry.value, dict)
        hint = nearest(entry.name, _SECTIONS if is_section else SETTINGS)
        kind = "section" if is_section else "setting"
        raise ConfigError(f"{entry.name} is not a {kind} (from: {entry.origin}){hint}")
    if not isinstance(entry.value, dict):
        raise ConfigError(f"{entry.name} must be a section (from: {entry.origin})")
