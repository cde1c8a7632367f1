"""Requests as bytes: HTTP/1.1, the Redis and NATS protocols, gRPC for etcd."""

import base64
import json
import struct
from collections.abc import Iterable
from typing import Any

# The load programs put the connection's number here.
CONNECTION = b"@@@@@@@@"

JSON = "application/json"
BULK = "application/x-ndjson"

_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _HEADERS, _DATA = 4, 1, 0
_END_STREAM, _END_HEADERS = 1, 4
_FRAME_BYTES_MAX = 16384


def compact(value: Any) -> bytes:
    """JSON without spaces, as the servers keep it."""
    return json.dumps(value, separators=(",", ":")).encode()


def http(method: str, target: str, body: bytes = b"", media: str = JSON) -> bytes:
    """One HTTP/1.1 request to this machine."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
    if method not in ("GET", "HEAD"):
        head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def resp(*words: bytes) -> bytes:
    """One command of the Redis protocol."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def nats_hello() -> bytes:
    """Introduce a connection and subscribe to the inbox of `nats_publish`; answered by PONG."""
    options = compact({"verbose": False, "pedantic": False, "lang": "bench", "version": "1"})
    return b"CONNECT %b\r\nSUB _INBOX.%b 1\r\nPING\r\n" % (options, CONNECTION)


def nats_publish(subject: bytes, payload: bytes) -> bytes:
    """Publish to a stream; its acknowledgement comes to the connection's inbox."""
    return b"PUB %b _INBOX.%b %d\r\n%b\r\n" % (subject, CONNECTION, len(payload), payload)


def grpc_hello() -> bytes:
    """The start of an HTTP/2 connection: preface and empty settings (RFC 9113, section 3.4)."""
    return _HTTP2_PREFACE + _frame(_SETTINGS, 0, b"")


def grpc_call(path: str, message: bytes) -> bytes:
    """One unary call: a HEADERS and some DATA frames, their stream number left 0.

    Headers are HPACK literals without indexing and without Huffman codes (RFC 7541).
    """
    fields = b"\x83\x86"  # :method POST, :scheme http
    fields += b"\x04" + _text(path)
    fields += b"\x01" + _text("localhost")
    fields += b"\x0f\x10" + _text("application/grpc")
    fields += b"\x00" + _text("te") + _text("trailers")
    body = b"\x00" + struct.pack(">I", len(message)) + message
    frames = [_frame(_HEADERS, _END_HEADERS, fields)]
    for start in range(0, len(body), _FRAME_BYTES_MAX):
        part = body[start : start + _FRAME_BYTES_MAX]
        last = start + len(part) == len(body)
        frames.append(_frame(_DATA, _END_STREAM if last else 0, part))
    return b"".join(frames)


def etcd_put(key: bytes, value: bytes) -> bytes:
    """``etcdserverpb.PutRequest`` as protobuf."""
    return _field(1, key) + _field(2, value)


def etcd_transaction(puts: Iterable[tuple[bytes, bytes]]) -> bytes:
    """``etcdserverpb.TxnRequest`` of puts without conditions, as protobuf."""
    return b"".join(_field(2, _field(2, etcd_put(key, value))) for key, value in puts)


def etcd_json_put(key: bytes, value: bytes) -> bytes:
    """The body of a put through etcd's JSON gateway."""
    fields = {"key": key, "value": value}
    return compact({name: base64.b64encode(each).decode() for name, each in fields.items()})


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags, 0, 0, 0, 0)) + payload


def _text(text: str) -> bytes:
    assert len(text) < 127
    return bytes((len(text),)) + text.encode()


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    low = []
    while number > 0x7F:
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*low, number))
