"""The client of a kissvdb server: `Client` for plain programs, `AsyncClient` for Trio and asyncio.

It imports neither the server nor numpy, and anyio only for `AsyncClient`.
"""

from typing import TYPE_CHECKING, Any

from kissvdb.client.blocking.client import Client
from kissvdb.client.config import Config
from kissvdb.client.errors import LeaseLost, Unreachable
from kissvdb.client.results import (
    ApiKey,
    BatchAnswer,
    Deleted,
    Document,
    Event,
    Found,
    Gap,
    Hit,
    Item,
    Loaded,
    Me,
    NewApiKey,
    Rows,
    Scrolled,
    Search,
    Vector,
    Written,
)

if TYPE_CHECKING:
    from kissvdb.client.aio.client import AsyncClient as AsyncClient

__all__ = [
    "ApiKey",
    "AsyncClient",
    "BatchAnswer",
    "Client",
    "Config",
    "Deleted",
    "Document",
    "Event",
    "Found",
    "Gap",
    "Hit",
    "Item",
    "LeaseLost",
    "Loaded",
    "Me",
    "NewApiKey",
    "Rows",
    "Scrolled",
    "Search",
    "Unreachable",
    "Vector",
    "Written",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from kissvdb.client.aio.client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
