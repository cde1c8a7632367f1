"""The other door, opened when the first connection goes through it.

To import Quart and Hypercorn takes as long as all else at the start (0.2 s): a server that is
asked for data only never does.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from kissvdb.config import Config
from kissvdb.errors import OUT_OF_RESOURCES, Overloaded, Stopping
from kissvdb.lane.transport import Transport

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

    from kissvdb.lane.hypercorn_door import HypercornDoor


class LateDoor:
    """As `HypercornDoor`, made when it is needed. ``make_app`` is called once, in a thread."""

    def __init__(
        self, make_app: "Callable[[], ASGIFramework]", config: Config, nursery: trio.Nursery
    ) -> None:
        """The application lives in ``nursery``."""
        self._make_app = make_app
        self._config = config
        self._nursery = nursery
        self._door: HypercornDoor | None = None
        self._opening = trio.Lock()
        self._stopping = False

    async def serve(self, transport: Transport, received: bytes) -> None:
        """Serve the connection until it ends; ``received`` is what was read from it already.

        Raises Stopping during a shutdown: Hypercorn would close it without a word. Raises
        Overloaded when no more files can be opened now.
        """
        door = self._door or await self._opened()
        if self._stopping:
            raise Stopping("the server is shutting down: retry when it is back")
        await door.serve(transport, received)

    async def _opened(self) -> "HypercornDoor":
        async with self._opening:
            if self._door is None:
                # A client that leaves meanwhile must not leave half a door to the next one.
                with trio.CancelScope(shield=True):
                    try:
                        self._door = await self._open()
                    except OSError as error:
                        if error.errno not in OUT_OF_RESOURCES:
                            raise
                        raise Overloaded(
                            f"the server cannot open more files now ({error.strerror}): retry"
                        ) from error
            assert self._door is not None
            return self._door

    async def _open(self) -> "HypercornDoor":
        await trio.to_thread.run_sync(importlib.import_module, "kissvdb.lane.hypercorn_door")
        app = await trio.to_thread.run_sync(self._make_app)
        from kissvdb.lane.hypercorn_door import HypercornDoor, hypercorn_config

        door = HypercornDoor(app, hypercorn_config(self._config))
        await door.open(self._nursery)
        if self._stopping:
            await door.stop()
        return door

    async def stop(self) -> None:
        """End idle connections now, and each other one after the answer under way."""
        self._stopping = True
        if self._door is not None:
            await self._door.stop()

    async def close(self) -> None:
        """Tell the application that it is over."""
        if self._door is not None:
            await self._door.close()
