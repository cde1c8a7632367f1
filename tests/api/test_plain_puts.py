"""Bodies of puts that say nothing but a value."""

import pytest

from kissvdb.api.state.plain_puts import read_one
from kissvdb.config import Limits


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"value":1}', b"1"),
        (b'{"value": {"a": 1, "b": "c d"}}', b'{"a":1,"b":"c d"}'),
        (b' {"value" : [ 1 , 2 ] } ', b"[1,2]"),
        (b'{"value":1,"ttl_ms":5}', None),
        (b'{"value":1e999}', None),
        (b'{"value":' + 300 * b"[" + 300 * b"]" + b"}", None),
        (b'{"value":"' + 90 * b"x" + b'"}', None),
    ],
)
def test_a_value_is_read_compact_or_left_to_be_looked_at(body, value):
    assert read_one(body, Limits(json_bytes_max=90)) == value
