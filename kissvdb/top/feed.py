"""Asks a server, again and again, and says when it does not answer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import msgspec

from kissvdb.client import AsyncClient, Config
from kissvdb.errors import KissError
from kissvdb.top.readings import Reading, Samples, parsed
from kissvdb.top.rows import event_line

TIMEOUT_SECS = 3.0
RETRY_SECS = 1.0
LINES_MAX = 2000
"""Lines of the log that wait to be shown; older ones are counted and forgotten."""


class Feed:
    """``readings`` and ``lines`` are what the app takes; ``trouble`` is why nothing new comes, ""
    while it does."""

    def __init__(self, config: Config) -> None:
        # Whoever watches asks again soon: no call is worth repeating.
        self._config = msgspec.structs.replace(config, timeout_secs=TIMEOUT_SECS, retries=0)
        self.lines: deque[str] = deque()
        self.lost_lines = 0
        self.trouble = ""
        self.stream_trouble = ""

    @property
    def url(self) -> str:
        """Whom it asks."""
        return self._config.url

    async def watch(self, interval: Callable[[], float], show: Callable[[Reading], None]) -> None:
        """Hand a reading to ``show`` every so many seconds, without end."""
        before: Samples = {}
        at = 0.0
        async with AsyncClient(config=self._config) as client:
            while True:
                began = time.monotonic()
                try:
                    now = parsed(await client.admin.metrics())
                except (KissError, OSError, ValueError) as error:
                    self.trouble = _said(error)
                else:
                    self.trouble = ""
                    show(Reading.of(now, before, began - at))
                    before, at = now, began
                await asyncio.sleep(max(interval() - (time.monotonic() - began), 0.05))

    async def follow(self) -> None:
        """Put the log's events into ``lines`` as they come, from now on, without end."""
        since: int | str = "now"
        while True:
            try:
                async with (
                    AsyncClient(config=self._config) as client,
                    client.stream.events(since=since) as stream,
                ):
                    self.stream_trouble = ""
                    async for event in stream:
                        self._add(event_line(event))
                        since = since if stream.last_offset is None else stream.last_offset
            except (KissError, OSError, ValueError) as error:
                self.stream_trouble = _said(error)
            await asyncio.sleep(RETRY_SECS)

    def _add(self, line: str) -> None:
        if len(self.lines) >= LINES_MAX:
            self.lines.popleft()
            self.lost_lines += 1
        self.lines.append(line)


def _said(error: Exception) -> str:
    if isinstance(error, KissError):
        return error.message
    return f"{type(error).__name__}: {error}"
