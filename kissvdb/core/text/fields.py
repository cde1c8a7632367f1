"""Where the texts of a document are: all strings in it, each under its dotted path."""

from collections.abc import Iterator
from typing import Any

from kissvdb.core.text.settings import FIELD_NAME_CHARS_MAX, TextSettings

TEXT_FIELD = "text"
"""What the one text of a vector's row is called."""
TEXTS_MAX = 4096
"""Strings of one document that are indexed; those behind them are stored and not searched."""


def texts_of(document: Any, settings: TextSettings) -> list[tuple[str, str]]:
    """(path, text) of the strings in a document that are searched, in its order.

    Strings in an array share the array's path. Only objects have fields: another document has none.
    """
    found: list[tuple[str, str]] = []
    if not isinstance(document, dict):
        return found
    searched = settings.field
    for path, value in document.items():
        # Most documents are flat, and every one that is written comes by here.
        kind = type(value)
        if kind is str:
            if value and len(path) <= FIELD_NAME_CHARS_MAX and searched(path) is not None:
                found.append((path, value))
        elif kind is list or kind is dict:
            found += [
                (below, text)
                for below, text in _strings({path: value})
                if text and len(below) <= FIELD_NAME_CHARS_MAX and searched(below) is not None
            ]
    return found[:TEXTS_MAX]


def _strings(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Depth first without recursion: documents may be nested deeper than Python's stack likes."""
    waiting: list[tuple[str, Any]] = [(key, document[key]) for key in reversed(document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            waiting.extend((f"{path}.{key}", value[key]) for key in reversed(value))
        elif isinstance(value, list):
            waiting.extend((path, each) for each in reversed(value))
