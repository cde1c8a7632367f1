"""A small HTTP server that speaks /v1/embeddings and fails as it is told, on a real socket."""

import base64
import json

import numpy as np
import trio

from tests.embedders.letters import counted


class Service:
    """``script`` has what the next requests get: a function of the request's texts that answers
    (status, headers, body), bytes to send as they are, or "hang" and "cut". Then all goes well."""

    def __init__(self):
        self.script = []
        self.requests = []
        self.url = ""

    async def run(self, task_status=trio.TASK_STATUS_IGNORED):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1/"
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream):
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                piece = await stream.receive_some(65536)
                if not piece:
                    return
                received += piece
            head, _, received = received.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            while len(received) < int(headers["content-length"]):
                received += await stream.receive_some(65536)
            length = int(headers["content-length"])
            body, received = json.loads(received[:length]), received[length:]
            self.requests.append((lines[0], headers, body))
            step = self.script.pop(0) if self.script else well
            if step == "hang":
                await trio.sleep_forever()
            if step == "cut":
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
                await stream.aclose()
                return
            status, extra, content = step(body["input"])
            lines = [f"HTTP/1.1 {status} X", f"content-length: {len(content)}", *extra, "", ""]
            await stream.send_all("\r\n".join(lines).encode() + content)


def answer(vectors, order=None, as_base64=True):
    def item(place):
        row = np.asarray(vectors[place], "<f4")
        embedding = base64.b64encode(row.tobytes()).decode() if as_base64 else row.tolist()
        return {"object": "embedding", "index": place, "embedding": embedding}

    places = range(len(vectors)) if order is None else order
    body = {"object": "list", "data": [item(place) for place in places], "model": "letters"}
    return 200, ["content-type: application/json"], json.dumps(body).encode()


def well(texts):
    return answer(counted(texts))


def status(number, *headers, text="no"):
    return lambda texts: (number, list(headers), text.encode())
