"""Asking actors for something, with failures in the words of the database."""

from typing import Any

from actors import ActorCrashed, Address, MailboxClosed, MailboxFull, Reply
from kissvdb.errors import KissError, Overloaded, Stopping


def submit(owner: Address, message: object) -> Reply:
    """Send now. Raises Overloaded when the mailbox is full, Stopping when the actor is gone."""
    try:
        return owner.submit(message)
    except (MailboxFull, MailboxClosed, ActorCrashed) as error:
        raise unavailable(error) from error


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
