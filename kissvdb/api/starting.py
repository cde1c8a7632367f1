"""What stands in the database's place until recovery is done."""

from typing import Any

from kissvdb.errors import Stopping


class Starting:
    """Refuses whatever is asked of it: the routes that need the database answer 503."""

    ready = False
    last_offset = 0

    def __getattr__(self, name: str) -> Any:
        raise Stopping("the server is starting and recovers its data: retry in a moment")
