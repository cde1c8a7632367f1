"""Writers and readers that live through kills, and what they remember of it."""

import json
import random

import httpx
import trio

from tests.patience import PATIENCE_SECS

RETRY_SECONDS = 0.02


class Acknowledged:
    """Every answer of 200 that changed something: (offset, type of event, what it must hold)."""

    def __init__(self):
        self.facts = []
        self._news = trio.Event()

    def add(self, offset, type_, **fields):
        self.facts.append((offset, type_, fields))
        self._news.set()
        self._news = trio.Event()

    async def wait_for(self, count):
        while len(self.facts) < count:
            await self._news.wait()


class Writer:
    """One client in a closed loop. A request that broke off may or may not have happened."""

    def __init__(self, number, url, acknowledged, seed):
        self._number = number
        self._url = url
        self._acknowledged = acknowledged
        self._random = random.Random(f"{seed}/{number}")
        self._count = 0
        steps = [self._increment, self._put, self._put_then_delete, self._put_with_ttl]
        self._step = [*steps, self._publish][number % 5]

    async def run(self, stop):
        async with httpx.AsyncClient(base_url=self._url, timeout=PATIENCE_SECS) as client:
            while not stop.is_set():
                self._count += 1
                try:
                    await self._step(client)
                except httpx.TransportError:
                    await trio.sleep(RETRY_SECONDS)

    async def _write(self, client, method, path, **options):
        answer = await client.request(method, path, **options)
        assert answer.status_code in (200, 409, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    async def _increment(self, client):
        key = f"counter:{self._random.randrange(4)}"
        found = await client.get(f"/v1/state/{key}")
        item = found.json() if found.status_code == 200 else {"value": 0, "revision": 0}
        value = item["value"] + 1
        body = {"value": value, "if_revision": item["revision"]}
        done = await self._write(client, "PUT", f"/v1/state/{key}", json=body)
        if done:
            assert done["revision"] == item["revision"] + 1
            self._acknowledged.add(done["offset"], "state_updated", key=key, value=value)

    async def _put(self, client):
        key = f"put:{self._number}:{self._count % 50}"
        body = {"value": {"count": self._count}}
        done = await self._write(client, "PUT", f"/v1/state/{key}", json=body)
        if done:
            self._acknowledged.add(done["offset"], "state_updated", key=key, **body)

    async def _put_then_delete(self, client):
        key = f"brief:{self._number}:{self._count % 5}"
        body = {"value": self._count}
        done = await self._write(client, "PUT", f"/v1/state/{key}", json=body)
        if done:
            self._acknowledged.add(done["offset"], "state_updated", key=key, **body)
        gone = await self._write(client, "DELETE", f"/v1/state/{key}")
        if gone and gone["deleted"]:
            self._acknowledged.add(gone["offset"], "state_deleted", key=key, reason="explicit")

    async def _put_with_ttl(self, client):
        key = f"ttl:{self._number}:{self._count % 20}"
        body = {"value": self._count, "ttl_ms": self._random.randrange(1, 400)}
        done = await self._write(client, "PUT", f"/v1/state/{key}", json=body)
        if done:
            self._acknowledged.add(done["offset"], "state_updated", key=key, value=self._count)

    async def _publish(self, client):
        data = {"writer": self._number, "count": self._count}
        done = await self._write(
            client, "POST", "/v1/events", json={"type": "progress", "data": data}
        )
        if done:
            self._acknowledged.add(done["offset"], "progress", **data)


class Reader:
    """One SSE client that reconnects with its last event id, for ever."""

    def __init__(self, url):
        self._url = url
        self.events = []
        self._news = trio.Event()

    @property
    def last_id(self):
        return self.events[-1]["offset"] if self.events else 0

    async def wait_for(self, offset):
        await self.wait_until(lambda events: self.last_id >= offset)

    async def wait_until(self, reached):
        while not reached(self.events):
            await self._news.wait()

    async def run(self):
        while True:
            headers = {"Last-Event-ID": str(self.last_id)}
            try:
                async with (
                    httpx.AsyncClient(timeout=PATIENCE_SECS) as client,
                    client.stream("GET", f"{self._url}/v1/stream", headers=headers) as answer,
                ):
                    async for line in answer.aiter_lines():
                        self._take(line)
            except httpx.TransportError:
                pass
            await trio.sleep(RETRY_SECONDS)

    def _take(self, line):
        assert line != "event: gap", "a gap, though nothing was trimmed"
        # A line that was cut by a kill does not come: httpx only gives whole ones, and the last,
        # unfinished one is told by its JSON.
        if line.startswith("data: "):
            try:
                event = json.loads(line.removeprefix("data: "))
            except ValueError:
                return
            self.events.append(event)
            self._news.set()
            self._news = trio.Event()


def replayed(events):
    """The state that the events lead to: key to (value, revision)."""
    state = {}
    for event in events:
        data = event["data"]
        if event["type"] == "state_updated":
            former = state.get(data["key"], (None, 0))
            assert data["revision"] == former[1] + 1, f"CAS violated at {event}"
            if data["key"].startswith("counter:"):
                assert data["value"] == (former[0] or 0) + 1, f"an increment was lost at {event}"
            state[data["key"]] = (data["value"], data["revision"])
        elif event["type"] == "state_deleted":
            assert state.pop(data["key"], None) is not None, f"nothing to delete at {event}"
    return state
