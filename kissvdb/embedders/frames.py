"""Messages between the server and the process of a model: four bytes of length, then msgpack."""

from typing import BinaryIO

LENGTH_BYTES = 4
FRAME_BYTES_MAX = 1 << 30


def frame(message: bytes) -> bytes:
    """``message`` as it goes over a pipe."""
    return len(message).to_bytes(LENGTH_BYTES, "little") + message


def write_frame(stream: BinaryIO, message: bytes) -> None:
    """Send a message at once."""
    stream.write(frame(message))
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next message; None when the stream ends, also in the middle of one."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "little")
    message = stream.read(length)
    return message if len(message) == length else None
