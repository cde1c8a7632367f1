"""Values of SQLite from JSON and to JSON.

Out: integers, reals, texts and null are what they are; a blob is base64 without padding; what no
JSON number can be (infinity) is null.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kissvdb.errors import SqliteError

_PLAIN = (str, int, float, type(None))
_json = msgspec.json.encode


def params_of(found: Any, where: str = "params") -> tuple[Any, ...] | dict[str, Any]:
    """Parameters as they are bound. Raises SqliteError; ``where`` names the field."""
    if found is None:
        return ()
    if isinstance(found, Mapping):
        return {_name(name): _value(each, f"{where}.{name}") for name, each in found.items()}
    if isinstance(found, Sequence) and not isinstance(found, str | bytes):
        return tuple(_value(each, f"{where}[{place}]") for place, each in enumerate(found))
    raise SqliteError(f"{where}: give an array (by position) or an object (by name)")


def rows_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as objects, with commas between them."""
    return _json([dict(zip(columns, _row(row), strict=True)) for row in rows])[1:-1]


def row_lines(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as arrays, each a line."""
    return b"".join([_json(_row(row)) + b"\n" for row in rows])


def plain_value(value: Any) -> Any:
    """A value as JSON has it; `msgspec` writes infinity as null by itself."""
    return b64encode(value).rstrip(b"=").decode() if isinstance(value, bytes) else value


def _row(row: Sequence[Any]) -> Sequence[Any]:
    return [plain_value(each) for each in row] if bytes in map(type, row) else row


def _name(name: str) -> str:
    return name[1:] if name[:1] in (":", "@", "$") else name


def _value(value: Any, where: str) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, _PLAIN):
        return value
    raise SqliteError(
        f"{where}: a parameter is null, a boolean, a number or a text: send an array or an object "
        "as JSON text, SQLite has functions for it (json_each)"
    )
