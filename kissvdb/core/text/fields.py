"""Where the texts of a document are: all strings in it, each under its dotted path."""

from collections.abc import Iterable, Iterator
from typing import Any

from kissvdb.core.text.settings import FIELD_NAME_CHARS_MAX, TextSettings

TEXT_FIELD = "text"
"""What the one text of a vector's row is called."""
TEXTS_MAX = 4096
"""Strings of one document that are indexed; those behind them are stored and not searched."""

_STRINGS = {str}


def texts_of(document: Any, settings: TextSettings) -> list[tuple[str, str]]:
    """(path, text) of the strings in a document that are searched, in its order.

    Strings in an array share the array's path. Only objects have fields: another document has none.
    """
    if not isinstance(document, dict):
        return []
    found = [
        (below, text)
        for path, value in document.items()
        for below, text in strings(path, value)
        if text and is_searched(below, settings)
    ]
    return found[:TEXTS_MAX]


def is_searched(path: str, settings: TextSettings) -> bool:
    """Whether texts under a path are searched."""
    return len(path) <= FIELD_NAME_CHARS_MAX and settings.field(path) is not None


def strings(path: str, value: Any) -> Iterable[tuple[str, str]]:
    """(path, text) of all strings in the value at a path."""
    if type(value) is list and set(map(type, value)) <= _STRINGS:
        return [(path, each) for each in value]
    return _nested(path, value)


def _nested(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Depth first without recursion: documents may be nested deeper than Python's stack likes."""
    waiting: list[tuple[str, Any]] = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            waiting.extend((f"{path}.{key}", value[key]) for key in reversed(value))
        elif isinstance(value, list):
            waiting.extend((path, each) for each in reversed(value))
