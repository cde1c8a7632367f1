"""Whether a crashed actor may be replaced: a limit on restarts in any stretch of time."""

from collections import deque
from typing import Final

import attrs


@attrs.frozen
class RestartPolicy:
    """Replace a crashed actor, at most `restarts_max` times in any `within_seconds`."""

    restarts_max: int = attrs.field(default=3, validator=attrs.validators.ge(0))
    within_seconds: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))


class Restart:
    """The two usual policies."""

    NEVER: Final = RestartPolicy(restarts_max=0)
    """A crash ends the supervisor's block: for owners of data that must be recovered."""
    ON_CRASH: Final = RestartPolicy()
    """A crash is logged and a fresh actor takes over: for what can be derived again."""


class RestartBudget:
    """The restarts that one actor has left under its policy."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._spent: deque[float] = deque()

    def spend(self, now_seconds: float) -> bool:
        """Take one restart and return True, or return False when there is none left."""
        while self._spent and self._spent[0] <= now_seconds - self._policy.within_seconds:
            self._spent.popleft()
        if len(self._spent) >= self._policy.restarts_max:
            return False
        self._spent.append(now_seconds)
        return True
