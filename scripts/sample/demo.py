"""A tour of kissvdb on real data: vectors, texts, documents, a batch, live events, kill -9."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.error
from pathlib import Path

from sample import COLLECTION, DOCUMENTS, Server, load, queries

from kissvdb.cli import settings_of

READY_SECONDS_MAX = 60
LEFT_COLUMNS = 66
EVENTS_SHOWN_OF = 200
"""Of what is written in bulk, each so many-th event is shown."""

SEARCH = f"/v1/vector/{COLLECTION}/search"
FIND = f"/v1/doc/{DOCUMENTS}/find"
PLAIN = {"pre": "*", "post": "*", "length": 80, "escape": False}


class Screen:
    """The story on the left; on the right the events as the stream brings them."""

    def __init__(self):
        self._right = max(40, shutil.get_terminal_size((120, 24)).columns - LEFT_COLUMNS - 3)
        self._events = []
        self._lock = threading.Lock()

    def say(self, text=""):
        for line in textwrap.wrap(text, LEFT_COLUMNS, subsequent_indent="  ") or [""]:
            with self._lock:
                self._line(line)

    def event(self, text):
        with self._lock:
            self._events.append(text)

    def settle(self):
        """Show the events that have come, after giving the last ones a moment."""
        time.sleep(0.3)
        with self._lock:
            while self._events:
                self._line("")

    def _line(self, left):
        event = self._events.pop(0) if self._events else ""
        print(f"{left:<{LEFT_COLUMNS}} | {event[: self._right]}".rstrip(), flush=True)


class Follower(threading.Thread):
    """Reads the stream from an offset on, and counts what it hears."""

    def __init__(self, server, screen, since):
        super().__init__(daemon=True)
        self.last_offset = since
        self.heard = 0
        self._server = server
        self._screen = screen

    def run(self):
        try:
            with self._server.stream(f"vectors=false&since={self.last_offset}") as lines:
                for line in lines:
                    if line.startswith(b"data: "):
                        self._hear(json.loads(line[6:]))
        except OSError:
            self._screen.event("-- the stream broke off --")

    def _hear(self, event):
        self.heard += 1
        if event["offset"] is not None:
            self.last_offset = event["offset"]
        data = event["data"]
        loaded = event["type"] == "vector_upserted" or "description" in str(data.get("value"))
        if not loaded or event["offset"] % EVENTS_SHOWN_OF == 0:
            what = data.get("id") or data.get("key") or data.get("hits") or data.get("collection")
            self._screen.event(f"#{event['offset']} {event['type']} {what}")


def start(directory, port):
    command = ["serve", "--port", str(port), "--data-dir", str(directory), "--logs", "error"]
    process = subprocess.Popen([sys.executable, "-m", "kissvdb", *command])
    server = Server(f"http://127.0.0.1:{port}", settings_of(command).config.server.api_key)
    if not server.wait_until_ready(READY_SECONDS_MAX):
        process.kill()
        raise SystemExit("the server did not get ready")
    return process, server


def follow(server, screen, since):
    follower = Follower(server, screen, since)
    follower.start()
    return follower


def search(screen, server, text, vector, **wishes):
    screen.say(f'search: "{text}"' + (f" {json.dumps(wishes)}" if wishes else ""))
    body = {"vector": vector.tolist(), "k": 3, "include_meta": True, **wishes}
    answer = server.call("POST", SEARCH, body)
    for hit in answer["hits"]:
        meta = hit["meta"]
        screen.say(f"  {hit['score']:.3f} {hit['id']} [{meta['section']}] {meta['synopsis']}")
    screen.say()
    return answer["hits"]


def search_texts(screen, server, text, vector):
    """The same words three ways: those that texts have, what is meant, and both."""
    for mode in ("text", "vector", "hybrid"):
        screen.say(f'{mode}: "{text}"')
        body = {"text": text, "mode": mode, "k": 2, "highlight": PLAIN, "include_meta": True}
        if mode != "text":
            body["vector"] = vector.tolist()
        for hit in server.call("POST", SEARCH, body)["hits"]:
            marked = " ".join(each["text"] for each in hit.get("highlight", ()))
            screen.say(f"  {hit['score']:.3f} {hit['id']}: {marked or hit['meta']['synopsis']}")
    screen.say()


def find_documents(screen, server):
    """A filter, an order and a facet, over documents that nobody declared anything about."""
    body = {
        "filter": {"size_kb": {"$gte": 20_000}},
        "sort": ["-size_kb"],
        "fields": ["section", "size_kb"],
        "facets": {"section": 4},
        "limit": 3,
    }
    answer = server.call("POST", FIND, body)
    for each in answer["documents"]:
        screen.say(f"  {each['doc']['size_kb']} KB {each['id']} [{each['doc']['section']}]")
    counts = answer["facets"]["section"]["values"]
    sections = ", ".join(f"{each['value']} {each['count']}" for each in counts)
    screen.say(f"  by section: {sections}")
    screen.say()


def write_together(screen, server):
    """One batch over every model: all of it, or nothing."""
    operations = [
        {"op": "doc_put", "collection": DOCUMENTS, "id": "demo", "doc": {"section": "demo"}},
        {"op": "update", "collection": COLLECTION, "id": "playerctl", "meta": {"section": "demo"}},
        {"op": "put", "key": "job:demo", "value": {"progress": 1.0}},
        {"op": "event", "type": "demo_done", "data": {"by": "the tour"}},
    ]
    absent = [{"documents": DOCUMENTS, "id": "demo", "if_absent": True}]
    batch = {"operations": operations, "preconditions": absent}
    done = server.call("POST", "/v1/batch", batch)
    screen.say(f"Done, at offsets {done['first_offset']} to {done['last_offset']}. Once more:")
    try:
        server.call("POST", "/v1/batch", batch)
    except urllib.error.HTTPError as refusal:
        screen.say(f"  {refusal.code} {json.loads(refusal.read())['message']}")
    screen.settle()


def tour(screen, server):
    screen.say(f"1. Load package descriptions: vectors and texts, and documents ({DOCUMENTS!r}).")
    count, seconds = load(server)
    screen.say(f"{count} of each in {seconds:.2f} s, each durable when it was answered.")
    screen.settle()
    screen.say()
    screen.say("2. Search by meaning: the vectors of these texts, and what is nearest.")
    asked = queries()
    for text, _, vector in (asked[0], asked[26]):
        search(screen, server, text, vector)
    screen.say("3. The same with filters on metadata. No index had to be declared.")
    text, _, vector = asked[23]
    search(screen, server, text, vector, filters={"section": "python"})
    search(screen, server, text, vector, filters={"size_kb": {"$lt": 50}}, emit=True)
    screen.settle()
    screen.say("4. By words, by meaning, and by both at once.")
    search_texts(screen, server, text, vector)
    screen.say("5. Documents: the largest packages, and how many each section has of them.")
    find_documents(screen, server)
    screen.say("6. Change a document, a vector, a key, and say so: one atomic batch.")
    write_together(screen, server)
    return vector.tolist()


def answers(server, probe):
    """What must be the same after a crash."""
    text = {"text": "library", "mode": "text", "k": 10}
    found = [server.call("POST", SEARCH, body) for body in (probe, text)]
    return [*found, server.call("POST", FIND, {"limit": 50, "sort": ["-size_kb"]})["documents"]]


def main():
    screen = Screen()
    directory = Path(tempfile.mkdtemp(prefix="kissvdb-demo-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"{'what is done':<{LEFT_COLUMNS}} | what the stream says", flush=True)
    process, server = start(directory, port)
    try:
        follower = follow(server, screen, 0)
        probe = {"vector": tour(screen, server), "k": 10, "exact": True}
        count = server.call("POST", f"/v1/vector/{COLLECTION}/count", {})["count"]
        before = answers(server, probe)
        screen.say(f"{follower.heard} events heard, the last has offset {follower.last_offset}.")
        screen.say()
        screen.say("7. kill -9, and start again.")
        process.kill()
        process.wait()
        screen.settle()
        started = time.perf_counter()
        process, server = start(directory, port)
        screen.say(f"Ready after {time.perf_counter() - started:.2f} s.")
        follow(server, screen, follower.last_offset - 3)
        again = server.call("POST", f"/v1/vector/{COLLECTION}/count", {})["count"]
        same = answers(server, probe) == before
        screen.say(f"{again} of {count} vectors are there; a search answers the same: {same}.")
        screen.settle()
        screen.say()
        screen.say("scripts/run serves the same data on port 9917.")
        return 0 if same and again == count else 1
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
