"""The limits of the wire contract. Lengths are in bytes of UTF-8."""

import re
import time
from functools import lru_cache

from kissvdb.api.reading.json_body import MistypedField
from kissvdb.config import Limits
from kissvdb.core.events.publishing import RESERVED_PREFIXES, RESERVED_TYPES
from kissvdb.core.state.rules import EXPIRES_AT_MS_MAX, U64_MAX
from kissvdb.errors import InvalidArgument, PayloadTooLarge

TAG_BYTES_MAX = 64
OP_ID_BYTES_MAX = 128

_EVENT_TYPE = re.compile(r"[A-Za-z0-9._:-]+")


def utf8_length(text: str) -> int:
    """Bytes of ``text`` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def check_key(key: str, limits: Limits, where: str = "key") -> None:
    """Raises InvalidArgument unless the key has 1 to key_bytes_max bytes."""
    if key.isascii() and 0 < len(key) <= limits.key_bytes_max:
        return
    if not 0 < utf8_length(key) <= limits.key_bytes_max:
        raise InvalidArgument(
            f"{where}: must have 1 to {limits.key_bytes_max} bytes, not {utf8_length(key)}: the "
            "most is limits.key_bytes_max (MAX_KEY_LEN)"
        )


def check_id(id_: str, limits: Limits, where: str = "id") -> None:
    """Raises InvalidArgument unless the id has 1 to id_bytes_max bytes."""
    if not 0 < utf8_length(id_) <= limits.id_bytes_max:
        raise InvalidArgument(
            f"{where}: must have 1 to {limits.id_bytes_max} bytes, not {utf8_length(id_)}: the "
            "most is limits.id_bytes_max (MAX_ID_LEN)"
        )


def checked_op_id(op_id: str | None, where: str = "op_id") -> str | None:
    """The ``op_id``. Raises InvalidArgument when it is empty or over OP_ID_BYTES_MAX bytes."""
    if op_id is not None and not 0 < utf8_length(op_id) <= OP_ID_BYTES_MAX:
        raise InvalidArgument(f"{where}: must have 1 to {OP_ID_BYTES_MAX} bytes")
    return op_id


def check_prefix(prefix: str, limits: Limits, where: str = "query.prefix") -> None:
    """Raises InvalidArgument when no key could be that long."""
    if utf8_length(prefix) > limits.key_bytes_max:
        raise InvalidArgument(
            f"{where}: must have at most {limits.key_bytes_max} bytes, the most of "
            "a key: limits.key_bytes_max (MAX_KEY_LEN)"
        )


def check_json_size(text: bytes, limits: Limits, where: str) -> None:
    """Raises PayloadTooLarge when a stored JSON text is over json_bytes_max."""
    if len(text) > limits.json_bytes_max:
        raise PayloadTooLarge(
            f"{where}: {len(text)} bytes of JSON, the limit is {limits.json_bytes_max}: split it "
            "over several keys, or raise limits.json_bytes_max (MAX_JSON_BYTES)"
        )


def check_text(text: str | None, limits: Limits, where: str = "text") -> None:
    """Raises PayloadTooLarge for a text over text_bytes_max, InvalidArgument for an empty one."""
    if text is None:
        return
    if not text:
        raise InvalidArgument(f"{where}: empty; leave it out for none")
    size = utf8_length(text)
    if size > limits.text_bytes_max:
        raise PayloadTooLarge(
            f"{where}: {size} bytes, the limit is {limits.text_bytes_max}: cut it into chunks, or "
            "raise limits.text_bytes_max (KISSVDB_LIMITS_TEXT_BYTES_MAX)"
        )


def check_u64(number: int | None, where: str) -> None:
    """Raises MistypedField for what msgspec lets through: integers beyond 64 bits."""
    if number is not None and not 0 <= number <= U64_MAX:
        raise MistypedField(f"{where}: must be an integer from 0 to {U64_MAX}")


def check_ttl(ttl_ms: int | None, where: str, kind: type[InvalidArgument] = MistypedField) -> None:
    """Raises ``kind`` unless the TTL ends after now and before the end of time."""
    if ttl_ms is None:
        return
    if ttl_ms < 1:
        raise kind(f"{where}: ttl_ms must be at least 1; leave it out for no expiry")
    if ttl_ms > EXPIRES_AT_MS_MAX - time.time_ns() // 1_000_000:
        raise kind(f"{where}: ttl_ms lies beyond the end of time; leave it out for no expiry")


def check_event_type(type_: str, limits: Limits, where: str = "type") -> None:
    """Raises InvalidArgument for a type that is malformed or belongs to the database."""
    problem = _type_problem(type_, limits.event_type_bytes_max)
    if problem is not None:
        raise InvalidArgument(f"{where}: {problem}")


def is_bad_event_type(type_: str, limits: Limits) -> bool:
    """Whether `check_event_type` would raise."""
    return _type_problem(type_, limits.event_type_bytes_max) is not None


# Programs have few types and many events.
@lru_cache(maxsize=1024)
def _type_problem(type_: str, bytes_max: int) -> str | None:
    if utf8_length(type_) > bytes_max or not _EVENT_TYPE.fullmatch(type_):
        return (
            f"must have 1 to {bytes_max} of the characters A-Z a-z 0-9 . _ : -; the most is "
            "limits.event_type_bytes_max (KISSVDB_LIMITS_EVENT_TYPE_BYTES_MAX)"
        )
    if type_ in RESERVED_TYPES or type_.startswith(RESERVED_PREFIXES):
        reserved = ", ".join([*sorted(RESERVED_TYPES), *(f"{each}*" for each in RESERVED_PREFIXES)])
        return f"{type_} belongs to the database (reserved: {reserved})"
    return None


def check_tags(tags: list[str] | None, limits: Limits, where: str = "tags") -> tuple[str, ...]:
    """The tags. Raises InvalidArgument when they are too many or of a wrong length."""
    if not tags:
        return ()
    if len(tags) > limits.event_tags_max:
        raise InvalidArgument(
            f"{where}: at most {limits.event_tags_max}, not {len(tags)}: send fewer, or raise "
            "limits.event_tags_max (KISSVDB_LIMITS_EVENT_TAGS_MAX)"
        )
    for place, tag in enumerate(tags):
        if not 0 < utf8_length(tag) <= TAG_BYTES_MAX:
            raise InvalidArgument(f"{where}[{place}]: must have 1 to {TAG_BYTES_MAX} bytes")
    return tuple(tags)
