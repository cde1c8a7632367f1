"""How schemathesis sends bodies that it has no form for: registered by importing this."""

import json

import msgpack
import schemathesis

REGISTERED = True


@schemathesis.serializer("application/x-ndjson")
def as_lines(context, value):
    return (value if isinstance(value, str) else json.dumps(value) + "\n").encode()


@schemathesis.serializer("application/msgpack")
def as_msgpack(context, value):
    try:
        return msgpack.packb(value)
    except (OverflowError, UnicodeEncodeError):
        # What msgpack has no form for goes as it is: bytes that are no operation.
        return json.dumps(value).encode()
