"""An ASGI application that answers the same JSON to every request: the floor for a server."""

import os
from typing import Any

BODY = os.environ.get("BENCH_CONSTANT", "{}").encode()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
}
END = {"type": "http.response.body", "body": BODY}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Read the request's body to its end, as a server that uses it must, and answer."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send(START)
    await send(END)
