"""Python values as the JSON that the database keeps."""

import json
from typing import Any

import msgspec

from kissvdb.errors import InvalidArgument


def encode(value: Any, where: str) -> bytes:
    """Compact JSON. Raises InvalidArgument for what JSON cannot hold: NaN, cycles, other types."""
    try:
        text = msgspec.json.encode(value)
        if b"null" in text:
            # msgspec writes NaN and infinity as null: what comes back would be something else.
            json.dumps(value, allow_nan=False, default=str, skipkeys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{where}: JSON cannot hold it ({error})") from error
    return text
