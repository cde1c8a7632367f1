"""Asking actors for something, with failures in the words of the database."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from actors import ActorCrashed, Address, Envelope, MailboxClosed, MailboxFull, Reply
from kissvdb.errors import KissError, Overloaded, Stopping
from kissvdb.telemetry.parts import Group, current


def submit(owner: Address, message: object) -> Reply:
    """Send now. Raises Overloaded when the mailbox is full, Stopping when the actor is gone."""
    try:
        reply = owner.submit(message)
    except (MailboxFull, MailboxClosed, ActorCrashed) as error:
        raise unavailable(error) from error
    parts = current()
    if parts is not None:
        reply.note = (parts, perf_counter())
    return reply


def watched(envelopes: Sequence[Envelope]) -> Group | None:
    """Those of the askers whose parts somebody wants, as an owner begins with what they sent."""
    replies = [each.reply for each in envelopes if each.reply is not None]
    notes = [each.note for each in replies if each.note is not None]
    return Group.taken(notes) if notes else None


def alone() -> Group | None:
    """The request that is being answered, if somebody wants its parts."""
    parts = current()
    return None if parts is None else Group([(parts, 0.0)])


async def answered(reply: Reply) -> Any:
    """The answer. Raises the refusal, or Stopping when none will come."""
    try:
        return await reply.wait()
    except (MailboxClosed, ActorCrashed) as error:
        raise unavailable(error) from error


def unavailable(error: MailboxFull | MailboxClosed | ActorCrashed) -> KissError:
    """What an actor error means to the client of the database."""
    if isinstance(error, MailboxFull):
        return Overloaded("too many writes are waiting for the disk: retry in a second")
    if error.delivered:
        return Stopping(
            "the server is stopping; the write may have happened: read the key when it is back"
        )
    return Stopping("the server is shutting down; nothing was done: retry when it is back")
