"""Strict JSON: what a body may be, and how a wrong one is explained.

Malformed JSON is a 400. JSON of the wrong shape (a missing or unknown field, a string for a number)
is a 422; both carry the code ``invalid_argument`` and name the field.

``value``, ``data`` and patches are the client's own JSON: they stay the bytes they came as
(number lexemes, member order, escapes), only without the whitespace between tokens.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec
import trio

from kissvdb.api.reading.fields import is_about_unknown, known_only
from kissvdb.api.reading.json_problems import DEPTH_MAX as DEPTH_MAX
from kissvdb.api.reading.json_problems import explain
from kissvdb.errors import InvalidArgument
from kissvdb.errors import MistypedField as MistypedField

T = TypeVar("T")
R = TypeVar("R")

INLINE_BYTES_MAX = 64 * 1024
"""A larger body is parsed in a thread: about 0.3 ms of the event loop at most (measured)."""

MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors and shells put in front of UTF-8."""

_SPACES = (b" ", b"\n", b"\t", b"\r")

_decode_any = msgspec.json.decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Body(Generic[T]):
    """Reads one type of JSON body (``msgspec.Raw`` fields keep their bytes)."""

    def __init__(self, type_: type[T]) -> None:
        self.type = type_
        self._decode: Callable[[bytes], T] = msgspec.json.Decoder(type_).decode

    def read(self, body: bytes, *, strict: bool) -> T:
        """The body as its type. Raises InvalidArgument (400) or MistypedField (422).

        ``strict``: unknown fields are refused; else they are passed over.
        """
        try:
            try:
                return self._decode(body)
            except msgspec.ValidationError as problem:
                if not is_about_unknown(problem):
                    raise
            return self._decode(known_only(body, self.type, "body", msgspec.json, strict=strict))
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            if has_mark(body):
                return self.read(body[len(MARK) :], strict=strict)
            explain(problem, body, "body", self.type)


def read_then(
    body: bytes, read: Callable[..., T], *args: Any, then: Callable[[T], R | Awaitable[R]]
) -> R | Awaitable[R]:
    """``then(read(*args))``; a coroutine that reads in a thread when ``body`` is large."""
    if len(body) <= INLINE_BYTES_MAX:
        return then(read(*args))

    async def later() -> R:
        outcome = then(await trio.to_thread.run_sync(read, *args))
        return await outcome if isinstance(outcome, Awaitable) else outcome

    return later()


async def off_loop(
    body: bytes, parse: Callable[..., T], *args: Any, inline_max: int = INLINE_BYTES_MAX
) -> T:
    """``parse(*args)``, in a thread when ``body`` is large: the loop serves everybody."""
    if len(body) <= inline_max:
        return parse(*args)
    return await trio.to_thread.run_sync(parse, *args)


def compact(raw: bytes | msgspec.Raw, where: str) -> bytes:
    """Any JSON text, checked and without whitespace between its tokens.

    msgspec does not look into Raw, so it is decoded once here: invalid UTF-8, lone surrogates
    and numbers beyond a double (1e999) are refused, as is nesting over DEPTH_MAX. Raises
    InvalidArgument; ``where`` names the field.
    """
    text = bytes(raw)
    try:
        decoded = _decode_any(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        if has_mark(text):
            return compact(text[len(MARK) :], where)
        explain(problem, text, where)
    # Every level takes two brackets.
    if len(text) > 2 * DEPTH_MAX and may_be_deep(text) and _too_deep(decoded):
        raise InvalidArgument(f"{where}: nested deeper than {DEPTH_MAX} levels: flatten it")
    return msgspec.json.format(text, indent=-1) if has_space(text) else text


def compact_all(texts: list[bytes]) -> list[bytes] | None:
    """What `compact` does, for well-formed ``texts`` all at once; None when one of them is not
    sound: `compact` then explains which. Depth is not looked at.
    """
    found = compact_with(texts)
    return None if found is None else found[0]


def compact_with(texts: list[bytes]) -> tuple[list[bytes], list[Any]] | None:
    """As `compact_all`, with what the texts say."""
    joined = b"[%b]" % b",".join(texts)
    try:
        decoded = _decode_any(joined)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not any(map(joined.__contains__, _SPACES)):
        return texts, decoded
    return list(map(bytes, _decode_raws(msgspec.json.format(joined, indent=-1)))), decoded


def has_space(text: bytes) -> bool:
    """Whether ``text`` may not be compact. The quickest way to ask (0.1 us; four ``in`` take 0.5).
    What else ``split`` takes for space is allowed nowhere in JSON."""
    return text.split(None, 1) != [text]


def has_mark(text: bytes) -> bool:
    """Whether one byte order mark stands in front. Asked for only once a text turned out not to be
    JSON: it is passed over (RFC 8259, section 8.1)."""
    return text.startswith(MARK) and not text.startswith(MARK, len(MARK))


def may_be_deep(text: bytes) -> bool:
    """Whether there are brackets enough for over DEPTH_MAX levels."""
    return text.count(b"[") + text.count(b"{") > DEPTH_MAX


def _too_deep(decoded: Any) -> bool:
    containers = [decoded]
    for _ in range(DEPTH_MAX):
        containers = [
            inner
            for each in containers
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not containers:
            return False
    return True
