"""What stands in the database's place until recovery is done."""

from typing import Any

from kissvdb.errors import Starting


class Recovering:
    """Answers what is asked of a server that is not ready; for the rest its requests wait."""

    ready = False
    last_offset = 0
    epoch = ""

    def __getattr__(self, name: str) -> Any:
        raise still_starting()


def still_starting() -> Starting:
    """The refusal of what came too early."""
    return Starting("the server is starting and recovers its data: retry in a moment")
