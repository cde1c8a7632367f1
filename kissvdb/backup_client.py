"""``kissvdb backup``: fetch a running server's backup over HTTP into a new directory."""

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO, cast

from kissvdb.errors import Refused, Unavailable
from kissvdb.storage import backup

IDLE_SECONDS_MAX = 300.0
"""How long the server may send nothing: it copies its tables before the first byte."""


def fetch(url: str, api_key: str, directory: Path) -> int:
    """Unpack the server's backup into ``directory`` (new or empty); returns its offset.

    Raises Refused with the server's own words, and Unavailable when it cannot be reached.
    """
    request = urllib.request.Request(f"{url.rstrip('/')}/v1/backup")
    if not request.full_url.startswith(("http://", "https://")):
        raise Refused(f"{url} is no http address")
    if api_key:
        request.add_header("authorization", f"Bearer {api_key}")
    try:
        with urllib.request.urlopen(request, timeout=IDLE_SECONDS_MAX) as answer:
            return backup.unpack(cast(BinaryIO, answer), directory)
    except urllib.error.HTTPError as problem:
        with problem:
            raise Refused(f"{url} refused: {_message(problem.read())}") from problem
    except (urllib.error.URLError, http.client.HTTPException) as problem:
        raise Unavailable(
            f"{url} cannot be reached ({problem}): is the server running?"
        ) from problem


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
