"""What an operation comes to: an answer, at once or later, or a failure nobody foresaw."""

import inspect
import logging
import sys
from collections.abc import Awaitable

from actors import ActorCrashed, MailboxClosed
from kissvdb.api.frame.http import Answer, Pending, Request, Response
from kissvdb.engine.asking import answered, unavailable
from kissvdb.errors import OUT_OF_RESOURCES, KissError, Overloaded

_log = logging.getLogger("kissvdb.api")


async def completed(outcome: Answer | Pending | Awaitable[Answer | Pending]) -> Answer:
    """The answer that an operation comes to."""
    if isinstance(outcome, Awaitable):
        outcome = await outcome
    if isinstance(outcome, Pending):
        try:
            value = await answered(outcome.reply)
        except KissError as error:
            return refused(outcome, error)
        return outcome.finish(value)
    return outcome


def refused(pending: Pending, error: KissError | MailboxClosed | ActorCrashed) -> Response:
    """What a refusal comes to; raises it where it is the answer."""
    if not isinstance(error, KissError):
        error = unavailable(error)
    if pending.refused is None:
        raise error
    return pending.refused(error)


def crashed(request: Request) -> KissError:
    """What to answer for the exception that is being handled, which is nobody's refusal."""
    error = sys.exception()
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        _log.warning("%s %s: %s", request.method, request.path, error)
        return Overloaded(f"the server has no room for this now ({error}): retry")
    _log.exception("%s %s failed", request.method, request.path)
    return KissError("a bug in the server stopped this request: its log has the traceback")


def drop(outcome: object) -> None:
    """Forget a coroutine that has not begun."""
    if inspect.iscoroutine(outcome):
        outcome.close()
