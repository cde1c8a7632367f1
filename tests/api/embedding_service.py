"""A small service that speaks OpenAI's /v1/embeddings: words hashed into numbers, and counted."""

import base64
import json
import struct
import threading
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kissvdb.config import Embedder

DIM = 32


def vector_of(text, dim=DIM):
    """Each word counts for one of the numbers."""
    numbers = [0.0] * dim
    for word in text.lower().split():
        numbers[zlib.crc32(word.encode()) % dim] += 1.0
    return numbers


class Service:
    """Where it listens, and the texts that it was asked for."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/v1"
        self.texts = []
        self.broken = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.dims = {}

    def settings(self, model="words", dim=DIM):
        self.dims[model] = dim
        return Embedder(
            kind="openai", model=model, base_url=self.url, dimensions=dim, retries=0, timeout_secs=5
        )


@contextmanager
def service():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if running.broken:
                self.send_error(503)
                return
            running.may_answer.wait()
            running.texts += asked["input"]
            dim = running.dims.get(asked["model"], DIM)
            data = [
                {"index": n, "embedding": shown(vector_of(text, dim), asked.get("encoding_format"))}
                for n, text in enumerate(asked["input"])
            ]
            body = json.dumps({"object": "list", "data": data, "model": asked["model"]}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Service(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


def shown(numbers, form):
    if form == "base64":
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return numbers
