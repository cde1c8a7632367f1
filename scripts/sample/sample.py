"""The sample of real data, and how to bring it to a server. Standard library and numpy only."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

COLLECTION = "debian"
DOCUMENTS = "packages"
BATCH_ROWS = 128
REQUEST_SECONDS_MAX = 30

HERE = Path(__file__).resolve().parent


def packages():
    """Every package as a document, in the order of the vectors of their descriptions."""
    with (HERE / "packages.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def vectors():
    """float32 [packages, 384]."""
    return np.load(HERE / "vectors.npy").astype("<f4")


def queries():
    """Texts, the packages they are about, and their vectors, float32 [queries, 384]."""
    with (HERE / "queries.jsonl").open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    numbers = np.load(HERE / "queries.npy").astype("<f4")
    return [(each["text"], each["package"], row) for each, row in zip(found, numbers, strict=True)]


class Server:
    """A few calls of the HTTP API."""

    def __init__(self, url, api_key=""):
        self.url = url
        self._headers = {"x-api-key": api_key} if api_key else {}

    def call(self, method, path, body=None, media="application/json"):
        """The JSON of the answer. Raises urllib.error.HTTPError for a refusal."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**self._headers, "content-type": media}
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS_MAX) as answer:
            return json.loads(answer.read() or b"null")

    def stream(self, query):
        """The open answer of /v1/stream."""
        request = urllib.request.Request(f"{self.url}/v1/stream?{query}", headers=self._headers)
        return urllib.request.urlopen(request)

    def wait_until_ready(self, seconds_max):
        """Whether it got ready in time."""
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            try:
                self.call("GET", "/v1/ready")
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
            else:
                return True
        return False


def load(server):
    """Create the collection of vectors, if it is not there, and upsert all, with their texts; and
    put the packages as documents. Answers how many there are and in how many seconds."""
    started = time.perf_counter()
    numbers, documents = vectors(), packages()
    _create(server, numbers.shape[1])
    for first in range(0, len(documents), BATCH_ROWS):
        part = documents[first : first + BATCH_ROWS]
        _upsert(server, part, numbers[first : first + BATCH_ROWS])
        puts = [{"id": each["id"], "doc": each} for each in part]
        _check(server.call("POST", f"/v1/doc/{DOCUMENTS}/put_batch", {"documents": puts}))
    return len(documents), time.perf_counter() - started


def _create(server, dim):
    """With the embedder, whose model made the sample's vectors, where it is installed."""
    for shape in ({"embedder": "default"}, {"dim": dim, "metric": "cosine"}):
        try:
            server.call("POST", f"/v1/vector/{COLLECTION}", shape)
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return
            if error.code != 503:
                raise
        else:
            return


def _upsert(server, part, numbers):
    texts = [each["description"] for each in part]
    metas = [{name: each[name] for name in each if name != "description"} for each in part]
    head = json.dumps({"ids": [each["id"] for each in part], "metas": metas, "texts": texts})
    path = f"/v1/vector/{COLLECTION}/upsert_batch"
    body = head.encode() + b"\n" + numbers.tobytes()
    _check(server.call("POST", path, body, "application/octet-stream"))


def _check(answer):
    refused = [each for each in answer["results"] if each["status"] == "error"]
    if refused:
        raise SystemExit(f"the server refused a part of the sample: {refused[0]}")
