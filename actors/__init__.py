"""Actors on Trio: one task owns some data, everybody else sends it messages.

Imports Trio and attrs only. `actors.testing` has what tests of actors need.
"""

from .actor import Actor
from .address import Address
from .errors import ActorCrashed, ActorError, MailboxClosed, MailboxFull
from .mailbox import Envelope, MailboxStatistics
from .reply import Reply
from .restart import Restart, RestartPolicy
from .supervisor import Supervisor, open_supervisor
from .worker import Workers, WorkersStatistics, WorkerStatistics, WorkerThread

__all__ = [  # noqa: RUF022 - grouped by what one needs first
    # Write an actor
    "Actor",
    "Envelope",
    # Talk to it
    "Address",
    "Reply",
    "MailboxStatistics",
    # Run it
    "Supervisor",
    "open_supervisor",
    "Restart",
    "RestartPolicy",
    # Threads
    "WorkerThread",
    "WorkerStatistics",
    "Workers",
    "WorkersStatistics",
    # What can go wrong
    "ActorError",
    "ActorCrashed",
    "MailboxClosed",
    "MailboxFull",
]
