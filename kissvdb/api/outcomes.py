"""What an operation comes to: an answer, at once or later, or a failure nobody foresaw."""

import inspect
import logging
import sys
from collections.abc import Awaitable

from kissvdb.api.frame.http import Answer, Pending, Request
from kissvdb.engine.asking import answered
from kissvdb.errors import OUT_OF_RESOURCES, KissError, Overloaded

_log = logging.getLogger("kissvdb.api")


async def completed(outcome: Answer | Pending | Awaitable[Answer | Pending]) -> Answer:
    """The answer that an operation comes to."""
    if isinstance(outcome, Awaitable):
        outcome = await outcome
    if isinstance(outcome, Pending):
        return outcome.finish(await answered(outcome.reply))
    return outcome


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
