"""The forms that vectors arrive in: JSON, msgpack, and raw float32. All become float32 bytes.

JSON and msgpack have the same members. In ``application/octet-stream`` the body is the numbers,
little-endian float32, and everything else is in the query string; a batch has one line of JSON
before its numbers.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import JSON
from kissvdb.api.reading.fields import is_about_unknown, known_only
from kissvdb.api.reading.json_body import Body, MistypedField, compact
from kissvdb.api.reading.json_problems import explain
from kissvdb.api.reading.query import parse_query
from kissvdb.config import Limits
from kissvdb.core.filters.parse import Node
from kissvdb.core.filters.parse import parse as parse_filter
from kissvdb.core.store.spec import NAMESPACE_FIELD, NUMBER_MAX
from kissvdb.errors import DimMismatch, InvalidArgument, PayloadTooLarge

T = TypeVar("T")
B = TypeVar("B", bound=msgspec.Struct)

MSGPACK = "application/msgpack"
OCTETS = "application/octet-stream"
NAMESPACE_BYTES_MAX = 128

_FLOAT_BYTES = 4


class Form(Generic[T]):
    """Reads one type of body as JSON or as msgpack, whichever the request says it is."""

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._json = Body(type_)
        self._msgpack = msgspec.msgpack.Decoder(type_)

    def read(self, context: Context, request: Request) -> T:
        """The body as its type. Raises InvalidArgument (400) or MistypedField (422)."""
        body, strict = request.body, context.strict
        if media_of(request) != MSGPACK:
            return self._json.read(body, strict=strict)
        try:
            try:
                return self._msgpack.decode(body)
            except msgspec.ValidationError as problem:
                if not is_about_unknown(problem):
                    raise
            known = known_only(body, self._type, "body", msgspec.msgpack, strict=strict)
            return self._msgpack.decode(known)
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            explain(problem, body, "body", self._type)


def media_of(request: Request) -> str:
    """The media type of the body; JSON when it does not say."""
    return request.headers.get("content-type", JSON).partition(";")[0].strip().lower()


def packed(numbers: Sequence[float] | bytes, where: str) -> bytes:
    """A vector as little-endian float32. Raises InvalidArgument unless all numbers are finite in
    float32."""
    if isinstance(numbers, bytes):
        if len(numbers) % _FLOAT_BYTES:
            raise InvalidArgument(
                f"{where}: {len(numbers)} bytes are no whole number of float32 values"
            )
        _check_numbers(numbers, where)
        return numbers
    try:
        vector = struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        raise InvalidArgument(f"{where}: a number is beyond the range of float32") from None
    except (struct.error, TypeError):
        raise MistypedField(f"{where}: expected an array of numbers") from None
    _check_numbers(vector, where)
    return vector


def vector_of(
    vector: Sequence[float] | bytes | None, vector_b64: bytes | None, where: str = "body"
) -> bytes | None:
    """The vector given by one of two names; None when by neither. Raises InvalidArgument."""
    if vector is None:
        return None if vector_b64 is None else packed(vector_b64, f"{where}.vector_b64")
    if vector_b64 is not None:
        raise InvalidArgument(f"{where}: give vector or vector_b64, not both")
    return packed(vector, f"{where}.vector")


def vector_or_none(
    vector: Sequence[float] | bytes | None,
    vector_b64: bytes | None,
    text: str | None,
    where: str,
) -> bytes | None:
    """The vector to write; None when there is a text that it can be made of.

    Raises InvalidArgument, DimMismatch, and MistypedField when there is neither.
    """
    found = vector_of(vector, vector_b64, where)
    if found is None and text is None:
        raise MistypedField(f"{where}: object missing required field vector, vector_b64 or text")
    if found == b"" and text is not None:
        raise DimMismatch(f"{where}.vector: has no numbers: leave it out to have it made of text")
    return found


def metadata(
    raw: msgspec.Raw | None,
    namespace: str | None,
    request: Request,
    bounds: Limits,
    where: str = "body",
) -> bytes | None:
    """As `json_metadata`, for metadata in the form of the request's body."""
    if raw is not None and media_of(request) == MSGPACK:
        raw = _as_json(raw, f"{where}.meta")
    return json_metadata(raw, namespace, bounds, where)


def json_metadata(
    raw: msgspec.Raw | None, namespace: str | None, bounds: Limits, where: str = "body"
) -> bytes | None:
    """A vector's metadata as compact JSON, with its namespace in it; None for none.

    Raises InvalidArgument, and PayloadTooLarge when it is over json_bytes_max.
    """
    text = None if raw is None else compact(raw, f"{where}.meta")
    if text == b"null":
        text = None
    # A name may also be written with escapes.
    if text is not None and (NAMESPACE_FIELD.encode() in text or b"\\u" in text):
        document = msgspec.json.decode(text)
        if isinstance(document, dict) and NAMESPACE_FIELD in document:
            _check_stored_namespace(document[NAMESPACE_FIELD], namespace, f"{where}.meta")
            namespace = None
    if namespace is not None:
        text = _with_namespace(text, namespace, where)
    if text is not None:
        limits.check_json_size(text, bounds, f"{where}.meta")
    return text


def filter_of(context: Context, request: Request, filters: Any) -> Node | None:
    """The tree of a request's filter. Raises InvalidArgument, and PayloadTooLarge when its JSON is
    over json_bytes_max."""
    bytes_max = context.config.limits.json_bytes_max
    bytes_of_json_max = len(request.body) + len(request.query)
    if media_of(request) == MSGPACK:
        # A control character: one byte, in JSON \u0000.
        bytes_of_json_max *= 6
    if filters is not None and bytes_of_json_max > bytes_max:
        size = len(msgspec.json.encode(filters))
        if size > bytes_max:
            raise PayloadTooLarge(
                f"filters: {size} bytes of JSON, the limit is {bytes_max}: ask for less at once, "
                "or raise limits.json_bytes_max (MAX_JSON_BYTES)"
            )
    return parse_filter(filters)


def check_namespace(namespace: str | None, where: str) -> None:
    """Raises InvalidArgument unless it has 1 to NAMESPACE_BYTES_MAX bytes."""
    if namespace is not None and not 0 < limits.utf8_length(namespace) <= NAMESPACE_BYTES_MAX:
        raise InvalidArgument(f"{where}: must have 1 to {NAMESPACE_BYTES_MAX} bytes")


def from_query(request: Request, type_: type[B], **given: Any) -> B:
    """A request body from the query string: each field from the parameter of its name.

    ``given`` fields are not looked for. Raises InvalidArgument and MistypedField.
    """
    parameters = parse_query(request.query)
    fields: dict[str, Any] = dict(given)
    for name in type_.__struct_fields__:
        text = parameters.get(name)
        # An empty parameter is none, but never a namespace: that would be all of them.
        if name not in given and (text or (name == "namespace" and text is not None)):
            fields[name] = _value(text, name)
    try:
        return msgspec.convert(fields, type_, strict=False)
    except msgspec.ValidationError as problem:
        raise MistypedField(f"query: {problem}") from None


def split_batch(body: bytes) -> tuple[bytes, bytes]:
    """The line of JSON that a raw batch begins with, and its numbers."""
    head, newline, numbers = body.partition(b"\n")
    if not newline:
        raise InvalidArgument(
            'body: a raw batch is one line of JSON, such as {"ids":["a","b"]}, a newline, and the '
            "numbers"
        )
    return head, numbers


def rows_of(numbers: bytes, count: int, where: str) -> list[bytes]:
    """The ``count`` vectors of equal length that lie one after another. Raises InvalidArgument."""
    if not count or not numbers or len(numbers) % (_FLOAT_BYTES * count):
        raise InvalidArgument(
            f"{where}: {len(numbers)} bytes are not {count} vectors of float32 values"
        )
    _check_numbers(numbers, where)
    length = len(numbers) // count
    return [numbers[start : start + length] for start in range(0, len(numbers), length)]


def _check_numbers(numbers: bytes, where: str) -> None:
    """Raises InvalidArgument for float32 values that have no place in a vector."""
    import numpy as np

    if numbers and not np.abs(np.frombuffer(numbers, "<f4")).max() <= NUMBER_MAX:
        raise InvalidArgument(
            f"{where}: holds NaN, infinity or a number beyond {NUMBER_MAX:g}: send finite numbers "
            "of a smaller scale"
        )


def _as_json(raw: msgspec.Raw, where: str) -> msgspec.Raw:
    try:
        value = msgspec.msgpack.decode(raw)
        return msgspec.Raw(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as problem:
        raise InvalidArgument(f"{where}: has no form in JSON ({problem})") from None


def _check_stored_namespace(named: Any, namespace: str | None, where: str) -> None:
    if not isinstance(named, str):
        raise InvalidArgument(f"{where}.{NAMESPACE_FIELD}: must be a string")
    check_namespace(named, f"{where}.{NAMESPACE_FIELD}")
    if namespace is not None and named != namespace:
        raise InvalidArgument(f"{where}.{NAMESPACE_FIELD}: is not the namespace of the request")


def _with_namespace(text: bytes | None, namespace: str, where: str) -> bytes:
    check_namespace(namespace, f"{where}.namespace")
    member = b'{"%b":%b' % (NAMESPACE_FIELD.encode(), msgspec.json.encode(namespace))
    if text is None or text == b"{}":
        return member + b"}"
    if not text.startswith(b"{"):
        raise InvalidArgument(f"{where}.meta: must be an object to belong to a namespace")
    return member + b"," + text[1:]


def _value(text: str, name: str) -> Any:
    if name == "filters":
        return Body(dict[str, Any]).read(text.encode(), strict=True)
    if name == "meta":
        return msgspec.Raw(text.encode())
    return text
