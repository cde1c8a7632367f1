"""What a filter may look for inside an event: ``job_id`` and ``tags`` of its value or data.

Everything else in the JSON is passed over, never built: an event may be large, and most do not
match.
"""

import json
import re
from typing import Any

import msgspec

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class Marks(msgspec.Struct, frozen=True):
    """The JSON texts of ``job_id`` and ``tags``; empty where there is none."""

    job_id: bytes = b""
    tags: bytes = b""


class _Top(msgspec.Struct):
    job_id: msgspec.Raw = msgspec.Raw()
    tags: msgspec.Raw = msgspec.Raw()


class _Outer(msgspec.Struct):
    """The data of a state key's event, or of a vector's."""

    value: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.Raw()


_read_top = msgspec.json.Decoder(_Top).decode
_read_outer = msgspec.json.Decoder(_Outer).decode
_NONE = Marks()


def marks_of(data: bytes | msgspec.Raw, member: str | None = None) -> Marks:
    """The marks at the top of ``data``, or of its member ``value`` or ``meta``."""
    try:
        inner = data if member is None else getattr(_read_outer(data), member)
        if bytes(memoryview(inner)[:1]) != b"{":
            return _NONE
        top = _read_top(inner)
    except (msgspec.MsgspecError, RecursionError):
        return _NONE
    return Marks(bytes(top.job_id), bytes(top.tags))


class Mark:
    """What a client looks for: the text it gave, and the number that the text says, if any."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._quoted = b'"%b"' % text.encode("utf-8", "surrogatepass")
        self._number = _number(text)

    def is_job_id(self, marks: Marks) -> bool:
        """Whether it is the event's job_id."""
        return self._is(marks.job_id)

    def is_tag(self, marks: Marks) -> bool:
        """Whether it is one of the event's tags, or its only one."""
        if marks.tags[:1] != b"[":
            return self._is(marks.tags)
        try:
            # The standard library's json, because it takes integers of any size.
            return any(map(self._equals, json.loads(marks.tags)))
        except ValueError:
            # A number of more digits than Python reads.
            return False

    def _is(self, raw: bytes) -> bool:
        """Whether a JSON text is this text or this number. ``true`` and ``null`` are neither."""
        if raw[:1] != b'"':
            return self._number is not None and _number(raw.decode()) == self._number
        if b"\\" in raw:
            return bool(json.loads(raw) == self._text)
        return raw == self._quoted

    def _equals(self, value: Any) -> bool:
        """As `_is`, of a value."""
        if isinstance(value, str):
            return value == self._text
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self._number is not None and bool(value == self._number)


def _number(text: str) -> int | float | None:
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    try:
        return float(text) if any(found.groups()) else int(text)
    except ValueError:
        return None
