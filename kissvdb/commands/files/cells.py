"""JSON values in the cells of a table, so that what is written is what is read.

A cell is a number only as JSON itself would write it: ``1.10``, ``007`` and ``1e5`` stay texts, and
nothing of them is lost. A text that would be taken for something else is written in quotes.
An empty cell is a field that is not there.
"""

from typing import Any

import msgspec

_decode = msgspec.json.decode
_BEGINS = frozenset('{["-0123456789tfn')


def to_cell(value: Any) -> str:
    """The text of a value."""
    if isinstance(value, str) and value and from_cell(value) == value:
        return value
    return msgspec.json.encode(value).decode()


def from_cell(text: str) -> Any:
    """The value of a text that is not empty."""
    if text[0] not in _BEGINS:
        return text
    try:
        value = _decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return text
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and msgspec.json.encode(value).decode() != text:
        return text
    return value
