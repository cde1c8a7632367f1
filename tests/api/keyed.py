"""Callers that have keys, on one database in memory."""

from contextlib import asynccontextmanager

import attrs
import msgspec

from kissvdb.config import Config, Search, Server, Storage
from tests.api.caller import opened

# Compiled code is for the tests of kernels. The server's own key lets others be issued.
CONFIG = Config(
    storage=Storage(memory=True), search=Search(compile=False), server=Server(api_key="s3cret")
)


@attrs.frozen
class Holder:
    """Dispatches the requests of whoever holds a key; None: of who has none."""

    caller: object
    key: str | None

    async def __call__(self, method, target, value=None, *, body=b"", **headers):
        if self.key is not None:
            headers["x_api_key"] = self.key
        if value is not None:
            body = msgspec.json.encode(value)
        return await self.caller(method, target, body=body, **headers)


@asynccontextmanager
async def keyed(config=CONFIG, **held):
    """A function from a name to the calls of who has that key; None: of who has none.

    ``held``: a role and grants (None: all) by name. The keys are issued by the database.
    """
    async with opened(config) as caller:
        texts = {None: None}
        for name, (role, grants) in held.items():
            made = await caller.database.keys.issue(name, role.name.lower(), scopes=grants)
            texts[name] = made.text
        yield lambda name: Holder(caller, texts[name])
