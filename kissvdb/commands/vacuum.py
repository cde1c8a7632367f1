"""``kissvdb vacuum``: ask the running server, or, when none runs, open its data directory."""

import json
from urllib.parse import quote

import trio

from kissvdb.commands.server_call import calling
from kissvdb.config import Config
from kissvdb.engine.opening import open_database
from kissvdb.errors import NotFound, Unavailable

IDLE_SECONDS_MAX = 3600.0
"""How long a server may take: some ten seconds for a million vectors and more."""


def vacuum(url: str, config: Config, collection: str) -> int:
    """Drop the dead rows of a collection; answers how many.

    Raises Refused, and DirectoryInUse when another process holds the data directory but does not
    answer at ``url``.
    """
    path = f"/v1/vector/{quote(collection, safe='')}/vacuum"
    try:
        with calling(
            url, config.server.api_key, path, method="POST", idle_seconds_max=IDLE_SECONDS_MAX
        ) as answer:
            return int(json.load(answer)["removed"])
    except Unavailable:
        if config.storage.memory:
            raise
    try:
        return trio.run(_vacuum_directory, config, collection)
    except BaseExceptionGroup as group:
        missing, rest = group.split(NotFound)
        if missing is None or rest is not None:
            raise
        raise NotFound(f"no collection {collection!r} in {config.storage.data_dir}") from group


async def _vacuum_directory(config: Config, collection: str) -> int:
    async with open_database(config) as database:
        # With them the new rows get their graph here, and not at the next start.
        await database.vectors.compiled.wait()
        return await database.vectors.vacuum(collection)
