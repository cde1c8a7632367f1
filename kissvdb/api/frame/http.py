"""HTTP as the handlers see it: a request, and what may answer it. No server inside.

Made for every request, so msgspec structs: frozen attrs classes take three times as long.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import attrs
import msgspec

from actors import Reply
from kissvdb.api.frame.principal import ANYBODY, Principal
from kissvdb.errors import KissError
from kissvdb.telemetry.parts import Parts

Headers = tuple[tuple[str, str], ...]


class Caller(Protocol):
    """Who is limited, as far as an answer says it: see `access.limiting`."""

    def headers(self) -> Headers: ...


class Request(msgspec.Struct, frozen=True):
    """One request. ``body`` is read whole, except on routes that take a ``stream`` of it: then
    it is empty, unless the door had all of it at hand.

    ``path`` is the raw path as it came (percent-encoded, without the query); ``query`` the raw
    query string; ``headers`` has lower-case names, the last of a repeated name wins; ``params``
    are the decoded path parameters the router found. ``peer`` is the address at the other end of
    the connection, which may be a proxy's: `access.peers` tells whose request it is. ``principal``
    is who asks, once the request was let in. ``parts``: where its time goes, if anybody wants that.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    params: Mapping[str, str] = {}
    stream: AsyncIterator[bytes] | None = None
    peer: str = ""
    principal: Principal = ANYBODY
    caller: Caller | None = None
    parts: Parts | None = None


class Response(msgspec.Struct, frozen=True):
    """A complete answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Headers = ()


@attrs.frozen
class StreamResponse:
    """An answer whose body comes in blobs until the iterator ends or the client leaves.

    The binding must ``aclose()`` the iterator when it is done with it, and must never put a
    time limit on the whole of it.
    """

    body: AsyncIterator[bytes]
    content_type: str = "text/event-stream"
    headers: Headers = ()
    status: int = 200


Answer = Response | StreamResponse


class Pending(msgspec.Struct, frozen=True):
    """An answer on its way: ``finish`` makes it from what is replied. A write has begun.

    ``refused`` makes one of a refusal; without it that is the answer.
    """

    reply: Reply
    finish: Callable[[Any], Response]
    refused: Callable[[KissError], Response] | None = None
