"""A client of vector collections on a running server, with short ways to call its routes."""

import itertools
import json
import struct

JSON = "application/json"
MSGPACK = "application/msgpack"
OCTETS = "application/octet-stream"
NDJSON = "application/x-ndjson"
NAMES = (f"c{number}" for number in itertools.count())


def floats(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


class Collection:
    """One collection of a running server, and short ways to call its routes."""

    def __init__(self, client, dim=2, metric="l2", **options):
        self.http = client
        self.name = next(NAMES)
        self.url = f"/v1/vector/{self.name}"
        self.created = client.post(self.url, json={"dim": dim, "metric": metric, **options})
        assert self.created.status_code == 200, self.created.text

    def post(self, what, body, media=JSON, **query):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": media}
        return self.http.post(f"{self.url}/{what}", content=content, headers=headers, params=query)

    def ok(self, what, body, media=JSON, **query):
        answer = self.post(what, body, media, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upsert(self, id_, *numbers, **more):
        return self.ok("upsert", {"id": id_, "vector": numbers, **more})

    def get(self, id_):
        return self.http.get(f"{self.url}/get", params={"id": id_})

    def ids(self, **search):
        return [hit["id"] for hit in self.ok("search", {"k": 9, **search})["hits"]]

    def events(self, count, **query):
        """The first ``count`` events of this collection."""
        return stream(self.http, count, collection=self.name, **query)


def stream(client, count, **query):
    events = []
    with client.stream("GET", "/v1/stream", params=query) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
            if len(events) == count:
                return events
    raise AssertionError("the stream ended")


def refused(answer, status, code, *words):
    assert answer.headers["content-type"] == JSON
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    for word in words:
        assert word in answer.json()["message"]
