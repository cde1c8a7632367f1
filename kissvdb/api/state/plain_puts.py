"""Puts that say nothing but keys and values, many at once, as columns: most of what is loaded."""

from collections.abc import Callable, Sequence
from itertools import repeat

import msgspec

from kissvdb.api.reading.json_body import DEPTH_MAX, compact_all, has_space, may_be_deep
from kissvdb.config import Limits
from kissvdb.core.state import reserved_keys
from kissvdb.core.state.put_many import WrittenMany
from kissvdb.errors import KissError

Columns = tuple[list[str], list[bytes]]
"""Keys, and their values as compact JSON."""

_WRONG = (KissError, msgspec.MsgspecError, ValueError, RecursionError)


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    key: str
    value: msgspec.Raw


class _Value(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    value: msgspec.Raw


class _Line(_Plain, tag_field="op", tag="put", forbid_unknown_fields=True, gc=False):
    """The same as a line of a bulk body."""


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    operations: list[_Plain]


class _Result(msgspec.Struct):
    status: str
    key: str
    revision: int
    expires_at_ms: None
    offset: int


class _LineResult(msgspec.Struct):
    status: str
    offset: int
    revision: int


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_value = msgspec.json.Decoder(_Value).decode
_decode_any = msgspec.json.decode
_decode_line: Callable[[bytes], _Line] = msgspec.json.Decoder(_Line).decode
_encoder = msgspec.json.Encoder()


def read(body: bytes, limits: Limits) -> Columns | None:
    """The columns of the body of a batch; None where it wants to be looked at put by put: one says
    more, is wrong, or its key is not plain ASCII or means something."""
    try:
        puts = _decode_batch(body).operations
    except _WRONG:
        return None
    return _columns(puts, limits) if len(puts) <= limits.state_batch_max else None


def read_one(body: bytes, limits: Limits) -> bytes | None:
    """The value in the body of a put, compact, if that is all that it says; None where it wants to
    be looked at: it says more, is wrong, or nested deeply."""
    try:
        text = bytes(_decode_value(body).value)
        _decode_any(text)
        if has_space(text):
            text = msgspec.json.format(text, indent=-1)
    except _WRONG:
        return None
    if len(text) > 2 * DEPTH_MAX and may_be_deep(text):
        return None
    return None if len(text) > limits.json_bytes_max else text


def read_lines(lines: Sequence[bytes], limits: Limits) -> Columns | None:
    """As `read`, of lines of a bulk body."""
    try:
        puts = list(map(_decode_line, lines))
    except _WRONG:
        return None
    return _columns(puts, limits)


def is_put(line: object) -> bool:
    """Whether a line of a bulk body begins as those of puts do."""
    return type(line) is bytes and line.startswith(b'{"op":"put"')


def _columns(puts: Sequence[_Plain], limits: Limits) -> Columns | None:
    keys = [each.key for each in puts]
    sizes = set(map(len, keys))
    if not 0 < min(sizes, default=0) <= max(sizes) <= limits.key_bytes_max:
        return None
    if not "".join(keys).isascii():
        return None
    if any(map(str.startswith, keys, repeat(reserved_keys.WATCHED))):
        return None
    texts = [bytes(each.value) for each in puts]
    if max(map(len, texts)) > 2 * DEPTH_MAX and any(map(may_be_deep, texts)):
        return None
    values = compact_all(texts)
    if values is None or max(map(len, values)) > limits.json_bytes_max:
        return None
    return keys, values


def results(keys: Sequence[str], written: WrittenMany) -> bytes:
    """The answers to a batch, as an array of JSON."""
    ok, never = repeat("ok"), repeat(None)
    return _encoder.encode(list(map(_Result, ok, keys, written.revisions, never, written.offsets)))


def line_results(written: WrittenMany) -> bytes:
    """The answers to lines."""
    ok = repeat("ok")
    return _encoder.encode_lines(list(map(_LineResult, ok, written.offsets, written.revisions)))
