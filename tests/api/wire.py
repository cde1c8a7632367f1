"""A real server on a free port, and raw bytes to and from it."""

from contextlib import asynccontextmanager

import attrs
import httpx
import trio

from kissvdb.config import Config, Http, Server, Storage
from kissvdb.daemon import running
from tests.patience import PATIENCE_SECS


def configured(lane=False, server=None, **sections):
    """In memory, on a free port; only the full door unless ``lane``."""
    return Config(
        storage=sections.pop("storage", Storage(memory=True)),
        server=attrs.evolve(server or Server(), port=0),
        http=Http(lane=lane),
        **sections,
    )


@attrs.frozen
class Door:
    """``http`` speaks HTTP; ``exchange`` sends bytes as they are."""

    port: int
    database: object
    http: httpx.AsyncClient

    async def exchange(self, *chunks):
        """Sends the chunks and answers with all that comes back until the server closes."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            for chunk in chunks:
                await stream.send_all(chunk)
            received = b""
            with trio.fail_after(PATIENCE_SECS):
                async for chunk in stream:
                    received += chunk
            return received


async def read_until(stream, mark):
    """What comes up to and with ``mark``."""
    received = b""
    with trio.fail_after(PATIENCE_SECS):
        while mark not in received:
            received += await stream.receive_some()
    return received


@asynccontextmanager
async def door(config=None):
    """A server for the length of the block."""
    async with (
        running(config or configured()) as server,
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        yield Door(server.port, server.database, client)
