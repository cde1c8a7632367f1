"""``kissvdb backup``: fetch a running server's backup over HTTP into a new directory."""

from pathlib import Path

from kissvdb.commands.server_call import calling
from kissvdb.storage import backup

IDLE_SECONDS_MAX = 300.0
"""How long the server may send nothing: it copies its tables before the first byte."""


def fetch(url: str, api_key: str, directory: Path) -> int:
    """Unpack the server's backup into ``directory`` (new or empty); returns its offset.

    Raises Refused with the server's own words, and Unavailable when it cannot be reached.
    """
    with calling(url, api_key, "/v1/backup", idle_seconds_max=IDLE_SECONDS_MAX) as answer:
        return backup.unpack(answer, directory)
