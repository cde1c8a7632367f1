"""Calling a running server from a command."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from kissvdb.errors import Refused, Unavailable


@contextmanager
def calling(
    url: str,
    api_key: str,
    path: str,
    *,
    method: str = "GET",
    body: Any = None,
    idle_seconds_max: float,
) -> Iterator[BinaryIO]:
    """The body of the answer. ``body`` is sent as JSON. Raises Refused with the server's own words,
    and Unavailable when it cannot be reached or says nothing for ``idle_seconds_max``."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}{path}", content, method=method)
    if not request.full_url.startswith(("http://", "https://")):
        raise Refused(f"{url} is no http address")
    if content is not None:
        request.add_header("content-type", "application/json")
    if api_key:
        request.add_header("authorization", f"Bearer {api_key}")
    try:
        with urllib.request.urlopen(request, timeout=idle_seconds_max) as answer:
            yield cast(BinaryIO, answer)
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
