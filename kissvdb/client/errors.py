"""From an answer to the exception that the server meant: the classes of `kissvdb.errors`."""

from collections.abc import Iterator

import msgspec

from kissvdb import errors
from kissvdb.errors import KissError, OutcomeUnknown, RequestTimeout, Unavailable


class Unreachable(Unavailable):
    """No server answers there: nothing was done, or the call was one that may be repeated."""

    code = "unreachable"


class LeaseLost(errors.RevisionMismatch):
    """A lease ended, or may have passed to another, before what was to be done under it."""

    code = "lease_lost"


class ServerFailed(KissError):
    """The server answered with an error that this client does not know."""

    code = "internal"


class _Body(msgspec.Struct):
    error: str
    message: str
    operation: int | None = None
    precondition: int | None = None


_decode = msgspec.json.Decoder(_Body).decode


def _classes(base: type[KissError]) -> Iterator[type[KissError]]:
    for each in base.__subclasses__():
        yield each
        yield from _classes(each)


# Several have one code: then the status tells, and the first of them is the plainest.
_BY_CODE: dict[str, list[type[KissError]]] = {}
for _class in _classes(KissError):
    # Refused is the family of many: what is only that is an InvalidArgument.
    if _class.__module__ == errors.__name__ and _class is not errors.Refused:
        _BY_CODE.setdefault(_class.code, []).append(_class)


def of_answer(status: int, body: bytes) -> KissError:
    """The exception for an answer that is none of success."""
    try:
        found = _decode(body)
    except msgspec.MsgspecError:
        # Not ours: a proxy between.
        text = body[:200].decode("utf-8", "replace").strip()
        found = _Body("", f"status {status}: {text or 'no message'}")
    return of_body(status, found.error, found.message, found.operation, found.precondition)


def of_body(
    status: int,
    code: str,
    message: str,
    operation: int | None = None,
    precondition: int | None = None,
) -> KissError:
    """The exception of an error's members; ``status`` 0: it had none of its own."""
    known = _BY_CODE.get(code, ())
    error_class = next((each for each in known if each.status == status), None)
    if error_class is None:
        error_class = known[0] if known else _unknown(status)
    error = error_class(message)
    error.operation, error.precondition = operation, precondition
    return error


def _unknown(status: int) -> type[KissError]:
    if status in (429, 502, 503, 504):
        return Unavailable
    return errors.Refused if 400 <= status < 500 else ServerFailed


def lost(what: str, *, timed_out: bool) -> KissError:
    """What to raise for a write that was sent and not answered."""
    if timed_out:
        return RequestTimeout(f"{what}: no answer in time; a write may or may not have happened")
    return OutcomeUnknown(
        f"{what}: the connection broke before the answer, so it may or may not have happened: "
        "look, or leave op_ids on, so that it can be repeated"
    )
