"""Percent-encoding and query strings, strictly.

In a path ``+`` is a plus sign; in a query it is a space (WHATWG URL, form-urlencoded).
"""

from collections.abc import Mapping

from kissvdb.core.state.rules import U64_MAX
from kissvdb.errors import InvalidArgument

_HEX = {
    f"{high}{low}".encode(): bytes([int(high + low, 16)])
    for high in "0123456789abcdefABCDEF"
    for low in "0123456789abcdefABCDEF"
}

_EMPTY: Mapping[str, str] = {}
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}


def percent_decode(text: str, where: str) -> str:
    """The text that ``text`` (raw, latin-1) stands for. Raises InvalidArgument naming ``where``."""
    if "%" not in text and text.isascii():
        return text
    first, *escaped = text.encode("latin-1", "replace").split(b"%")
    parts = [first]
    for part in escaped:
        byte = _HEX.get(part[:2])
        if byte is None:
            raise InvalidArgument(
                f"{where}: % must be followed by two hexadecimal digits (a % itself is %25)"
            )
        parts += (byte, part[2:])
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{where}: not valid UTF-8 after percent-decoding") from None


def parse_query(query: str) -> Mapping[str, str]:
    """The parameters by name; the last of a repeated one wins. Raises InvalidArgument."""
    if not query:
        return _EMPTY
    parameters = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name:
            decoded = percent_decode(name.replace("+", " "), "query")
            parameters[decoded] = percent_decode(value.replace("+", " "), f"query.{decoded}")
    return parameters


def u64(parameters: Mapping[str, str], name: str) -> int | None:
    """An unsigned 64-bit integer, or None when absent or empty. Raises InvalidArgument."""
    text = parameters.get(name)
    if not text:
        return None
    number = parse_u64(text)
    if number is None:
        raise InvalidArgument(f"query.{name}: must be an integer from 0 to {U64_MAX}")
    return number


def switch(parameters: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A parameter that is true or false; ``default`` without one. Raises InvalidArgument."""
    text = parameters.get(name)
    if not text:
        return default
    if text not in _SWITCHES:
        raise InvalidArgument(f"query.{name}: must be true or false, not {text[:100]!r}")
    return _SWITCHES[text]


def parse_u64(text: str) -> int | None:
    """The number, or None when ``text`` is anything but ASCII digits of at most 64 bits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    number = int(text)
    return number if number <= U64_MAX else None
