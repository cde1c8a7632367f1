"""How JSON that cannot be read is explained: where it is wrong, and what would be right."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
from msgspec import inspect

from kissvdb.errors import InvalidArgument, MistypedField

DEPTH_MAX = 128
"""Nesting of a stored value. Far below what any JSON reader on the way out can recurse into."""

# A whole pair, half of one (the group), or another escape: so that a pair's second half and what
# follows an escaped backslash are not taken for one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")
_BAD_CHOICES = ("Invalid enum value", "Invalid value")


def explain(problem: Exception, body: bytes, where: str, type_: Any = None) -> NoReturn:
    """Raise InvalidArgument, or MistypedField, for what msgspec said of ``body``. ``type_`` is what
    it should have been; byte positions are within ``where``."""
    if not body.strip():
        raise InvalidArgument(f"{where}: empty, send JSON") from None
    if body.startswith(_UTF16_MARKS):
        raise InvalidArgument(f"{where}: UTF-16, send UTF-8 (PowerShell: -Encoding utf8)") from None
    if isinstance(problem, RecursionError):
        raise InvalidArgument(f"{where}: nested deeper than {DEPTH_MAX} levels: flatten it")
    if isinstance(problem, UnicodeDecodeError):
        raise InvalidArgument(f"{where}: not valid UTF-8{_utf8_place(body)}") from None
    text = str(problem)
    if "out of range" in text:
        raise InvalidArgument(f"{where}: a number is out of range: send it as a string") from None
    if not isinstance(problem, msgspec.ValidationError):
        half = next((each for each in _ESCAPE.finditer(body) if each[1]), None)
        if half is not None:
            raise InvalidArgument(
                f"{where}: half a surrogate pair ({half[0].decode()}) at byte {half.start()}: send "
                "both halves, or the character itself"
            ) from None
        if text == "Input data was truncated":
            text = f"the JSON is cut short after {len(body)} bytes, in the middle of a value"
        raise InvalidArgument(f"{where}: {text}") from None
    reason, _, path = text.partition(" - at `$")
    path = path.rstrip("`")
    if type_ is not None and reason.startswith(_BAD_CHOICES):
        reason += f": use {_alternatives(_choices(_info(type_), path))}"
    raise MistypedField(f"{where}{path}: {_lower(reason)}") from None


def _utf8_place(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as problem:
        return f" at byte {problem.start} ({problem.reason})"
    return ""


@lru_cache(maxsize=64)
def _info(type_: Any) -> inspect.Type:
    return inspect.type_info(type_)


def _choices(info: inspect.Type, path: str) -> list[str]:
    """The values that may stand at ``path`` of a type, such as ``.index.kind``."""
    places = list(_plain(info))
    for step in _STEP.finditer(path):
        places = [inner for place in places for inner in _inside(place, step[1])]
    return [
        str(value)
        for place in places
        if isinstance(place, inspect.LiteralType)
        for value in place.values
    ]


def _inside(info: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    """What may stand in a member of this name, or in an item without one."""
    match info:
        case inspect.ListType(item_type=inner) if name is None:
            yield from _plain(inner)
        case inspect.StructType() if name == info.tag_field:
            yield inspect.LiteralType((info.tag,))
        case inspect.StructType():
            for field in info.fields:
                if field.encode_name == name:
                    yield from _plain(field.type)


def _plain(info: inspect.Type) -> Iterator[inspect.Type]:
    match info:
        case inspect.Metadata(type=inner):
            yield from _plain(inner)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _plain(each)
        case _:
            yield info


def _alternatives(values: Iterable[str]) -> str:
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else last


def _lower(reason: str) -> str:
    reason = reason.replace("`", "").replace(" | ", " or ")
    return reason[:1].lower() + reason[1:]
