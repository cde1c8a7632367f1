"""Server-sent events without a socket (WHATWG HTML, section 9.2): bytes in, events out."""

import msgspec

from kissvdb.client.results import Event, Gap

END_TYPES = frozenset({"error", "ended"})
"""The last event of a stream that does not go on."""


class Ended(msgspec.Struct):
    """The server has ended the stream, and says why."""

    code: str
    message: str


class _Error(msgspec.Struct):
    error: str = "ended"
    message: str = "the server ended the stream"
    reason: str = ""


_envelope = msgspec.json.Decoder(Event).decode
_gap = msgspec.json.Decoder(Gap).decode
_error = msgspec.json.Decoder(_Error).decode


class EventParser:
    """Of one connection. ``last_id`` is the place to go on from after another one."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self._rest = b""

    def feed(self, data: bytes) -> list[Event | Gap | Ended]:
        """The events that are whole now. Raises msgspec.DecodeError for what is none."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        found = []
        for block in blocks:
            event = self._event(block)
            if event is not None:
                found.append(event)
        return found

    def _event(self, block: bytes) -> Event | Gap | Ended | None:
        type_, place, data = "message", None, None
        for line in block.split(b"\n"):
            name, _, value = line.partition(b": ")
            if name == b"data":
                data = value
            elif name == b"event":
                type_ = value.decode()
            elif name == b"id":
                place = value.decode()
        event: Event | Gap | Ended | None = None
        if data is not None:
            event = _read(type_, data)
        if place is not None:
            self.last_id = place
        return event


def _read(type_: str, data: bytes) -> Event | Gap | Ended:
    if type_ == "gap":
        return _gap(data)
    if type_ in END_TYPES:
        error = _error(data)
        return Ended(error.error, error.reason or error.message)
    return _envelope(data)
