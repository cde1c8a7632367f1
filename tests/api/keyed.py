"""Callers that have keys, on one database in memory."""

from contextlib import asynccontextmanager

import attrs
import msgspec

from kissvdb.api.frame.principal import STRANGER, Principal, Scope
from kissvdb.config import Config, Rate, Search, Storage
from kissvdb.errors import Forbidden, Unauthorized
from tests.api.caller import opened

# Compiled code is for the tests of kernels.
CONFIG = Config(
    storage=Storage(memory=True),
    search=Search(compile=False),
    # Tests try wrong keys without end.
    rate=Rate(failures_burst=0),
)


class ByName:
    """Lets in who is named in x-api-key, as the admission of a server with keys does."""

    def __init__(self, principals):
        self.principals = principals

    def admit(self, request, bound):
        found = self.principals.get(request.headers.get("x-api-key"))
        scope = Scope.ADMIN if bound is None else bound.route.scope
        if found is None and scope is not Scope.PUBLIC:
            raise Unauthorized("no key")
        found = found or STRANGER
        if not found.may(scope):
            raise Forbidden("the role of this API key does not go that far")
        return found


@attrs.frozen
class Holder:
    """Dispatches the requests of whoever holds a key."""

    caller: object
    name: str | None

    async def __call__(self, method, target, value=None, *, body=b"", **headers):
        if self.name is not None:
            headers["x_api_key"] = self.name
        if value is not None:
            body = msgspec.json.encode(value)
        return await self.caller(method, target, body=body, **headers)


@asynccontextmanager
async def keyed(config=CONFIG, **principals):
    """A function from a name to the calls of who has that key; None: of who has none.

    ``principals``: a role and grants (None: all) by name.
    """
    async with opened(config) as caller:
        held = principals.items()
        by_name = {name: Principal(name, role, name, grants) for name, (role, grants) in held}
        caller.api._entrance.admission = ByName(by_name)
        yield lambda name: Holder(caller, name)
