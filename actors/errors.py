"""What can go wrong between an asker and an actor.

An actor's own refusals are not here: they are the exceptions it passes to ``Envelope.refuse``.
"""


class ActorError(Exception):
    """Base of every error this package raises."""


class MailboxFull(ActorError):
    """``submit`` or ``tell_nowait`` found no room; nothing was sent."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(f"the mailbox of {name} is full ({size} messages)")
        self.name = name
        self.size = size


class MailboxClosed(ActorError):
    """The actor, or the worker thread, is stopping or has stopped.

    ``delivered`` tells what became of the message: False means that it was never handed over,
    so it had no effect; True means that the actor had it in hand and was stopped before it
    answered, so its effect is unknown.
    """

    def __init__(self, name: str, *, delivered: bool = False) -> None:
        outcome = "stopped before it answered" if delivered else "has stopped or is stopping"
        super().__init__(f"{name} {outcome}")
        self.name = name
        self.delivered = delivered


class ActorCrashed(ActorError):
    """The actor crashed before it answered; ``__cause__`` is the crash.

    ``delivered`` is as in `MailboxClosed`: False means that the message had no effect, True that
    its effect is unknown.
    """

    def __init__(self, name: str, *, delivered: bool = False) -> None:
        super().__init__(f"{name} crashed before it answered")
        self.name = name
        self.delivered = delivered
