"""Structured logs on top of ``logging``: one record is one line, as text or as JSON.

Text: ``2026-11-21T12:00:00.123Z INFO kissvdb.engine message key=value``. JSON: one object with
``ts``, ``level``, ``logger``, ``message``, then the fields. Fields are given to ``event`` or as
``extra={"fields": {...}}``. Secrets are masked by name and by shape before anything is written,
and control characters are escaped, so that a client cannot forge a line.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

MESSAGE_CHARS_MAX = 8192
FIELD_CHARS_MAX = 2048
MASK = "********"

_SECRET_NAMES = frozenset({"api_key", "apikey", "authorization", "x-api-key", "x_api_key"})
_SECRET_SHAPES = re.compile(
    r"((?:x-)?api[-_]?key[\"']?\s*[=:]\s*[\"']?|\bbearer\s+)[^\s&\"'#;,]+", re.IGNORECASE
)
_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_RESERVED = ("ts", "level", "logger", "message", "exception")
_BARE = re.compile(r"[^\s\"=\\]+")


def configure(level: str, format: str, stream: IO[str] | None = None) -> None:
    """Send all loggers' records of at least ``level`` to ``stream``, by default standard error.

    ``level`` and ``format`` are those of ``kissvdb.config.Logs``. Calling it again replaces what
    the last call set up and leaves handlers of others alone.
    """
    root = logging.getLogger()
    for former in [one for one in root.handlers if isinstance(one, LogWriter)]:
        root.removeHandler(former)
    writer = LogWriter(stream or sys.stderr)
    writer.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root.addHandler(writer)
    root.setLevel(level.upper())


def event(logger: logging.Logger, level: int | str, message: str, /, **fields: object) -> None:
    """Log ``message`` with ``fields``; the message stays the same from one event to the next.

    ``level`` is a number of ``logging`` or one of ``kissvdb.config.LEVELS``.
    """
    number = level if isinstance(level, int) else _LEVELS[level]
    if logger.isEnabledFor(number):
        logger.log(number, message, extra={"fields": fields})


class LogWriter(logging.StreamHandler[IO[str]]):
    """The handler that ``configure`` installs; its type tells it from those of others."""


class TextFormatter(logging.Formatter):
    """Lines for people. A traceback follows its line, indented."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_timestamp(record), record.levelname, record.name, _escaped(_message(record))]
        parts += [f"{_bare(name)}={_bare(_text(value))}" for name, value in _fields(record)]
        line = " ".join(parts)
        exception = _exception(record)
        return line if exception is None else f"{line}\n" + _indented(exception)


class JsonFormatter(logging.Formatter):
    """Lines for machines. A field with a reserved name gets an underscore at its end."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in _fields(record):
            line[f"{name}_" if name in _RESERVED else name] = _plain(value)
        exception = _exception(record)
        if exception is not None:
            line["exception"] = exception
        return json.dumps(line, allow_nan=False)


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _message(record: logging.LogRecord) -> str:
    return _masked(record.getMessage())[:MESSAGE_CHARS_MAX]


def _fields(record: logging.LogRecord) -> list[tuple[str, object]]:
    fields: Mapping[Any, object] = getattr(record, "fields", {})
    return [
        (str(name), MASK if str(name).lower() in _SECRET_NAMES else value)
        for name, value in fields.items()
    ]


def _exception(record: logging.LogRecord) -> str | None:
    if not record.exc_info or record.exc_info[0] is None:
        return None
    return _masked(logging.Formatter().formatException(record.exc_info))


def _masked(text: str) -> str:
    return _SECRET_SHAPES.sub(rf"\1{MASK}", text)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _indented(text: str) -> str:
    return "\n".join(f"    {_escaped(line)}" for line in text.splitlines())


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return _masked(str(value))[:FIELD_CHARS_MAX]


def _bare(text: str) -> str:
    """``text`` as a word, or as a JSON string when it would not be one word."""
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return _escaped(json.dumps(text, ensure_ascii=False))


def _plain(value: object) -> object:
    """``value`` as JSON can hold it: numbers stay numbers, what JSON lacks becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    return _text(value)
