"""Whether a kept connection has something to say that nobody asked for: as a rule its end."""

import select


def readable(fileno: int) -> bool:
    """Without waiting. False where the platform cannot tell."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(0))
