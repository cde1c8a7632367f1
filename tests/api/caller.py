"""Calls the dispatcher as a door would, with a real database in memory behind it."""

import json
from contextlib import asynccontextmanager

import attrs

from kissvdb.api.dispatch import Api
from kissvdb.api.frame.http import Request
from kissvdb.config import Config, Storage
from kissvdb.engine.opening import open_database
from kissvdb.metrics import Metrics

IN_MEMORY = Config(storage=Storage(memory=True))
ABSENT = object()


class Caller:
    def __init__(self, database, config, metrics):
        self.database = database
        self.metrics = metrics
        self.api = Api(database, config, metrics)

    async def __call__(self, method, target, value=ABSENT, *, body=b"", timed=True, **headers):
        """``value`` is sent as JSON, ``body`` as it is; ``if_match`` is the header If-Match."""
        path, _, query = target.partition("?")
        if value is not ABSENT:
            body = json.dumps(value).encode()
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.api.dispatch(Request(method, path, query, fields, body), timed=timed)


def reading(answer):
    """The JSON of an answer, which must say that it is JSON."""
    assert answer.content_type == "application/json"
    return json.loads(answer.body)


def header(answer, name):
    """The one value of a header, or None."""
    values = [value for key, value in answer.headers if key == name]
    assert len(values) <= 1, f"{name} is there {len(values)} times"
    return values[0] if values else None


def refused(answer, status, code, *words):
    """Checks the wire shape of an error and that its message has these words."""
    assert (answer.status, reading(answer)) == (status, {"error": code, "message": message(answer)})
    for word in words:
        assert word in message(answer), message(answer)


def message(answer):
    return json.loads(answer.body)["message"]


@asynccontextmanager
async def opened(config=IN_MEMORY, clock_ms=None, **sections):
    """A caller on a new database; ``sections`` replace those of the configuration."""
    config = attrs.evolve(config, **sections)
    metrics = Metrics()
    async with open_database(config, metrics=metrics, clock_ms=clock_ms) as database:
        yield Caller(database, config, metrics)
