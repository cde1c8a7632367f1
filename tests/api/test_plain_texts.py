"""Texts found plain at a glance are those that `compact` answers as they are."""

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kissvdb.api.bulk.operations import read_events, read_line, read_lines
from kissvdb.api.reading.json_body import DEPTH_MAX, compact
from kissvdb.api.reading.plain_texts import plain_texts
from kissvdb.config import Config, Limits
from kissvdb.core.events.publishing import record_of
from kissvdb.errors import KissError

_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_PIECES = st.sampled_from(
    [
        *'{}[]:,"\\ \t\r\n',
        '\\"',
        "\\\\",
        "1e9",
        "1E999",
        "true",
        "null",
        "-0",
        "1.5",
        "é",
        "\\u00e9",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
COMPACT = VALUES.map(lambda value: json.dumps(value, separators=(",", ":")).encode())
WIDE = VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode())
BROKEN = st.lists(_PIECES).map("".join).map(str.encode) | st.binary(max_size=6)


def well_formed(text):
    try:
        return bytes(_decode_raw(text)) == text
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def is_kept(text):
    try:
        return compact(text, "value") == text
    except KissError:
        return False


@settings(max_examples=60)
@given(st.lists(COMPACT | WIDE | BROKEN, max_size=12))
@example([b'"\xff"', b"1"])
@example([b"1e999", b"true", b"[1,false]"])
@example([b"9" * 400 + b".5", b"7"])
@example([b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1)])
@example([b'"\\\\\\""', b'"\\\\"', b'["\\\\",1 ]', b'{"a\\"":" "}'])
def test_what_is_found_plain_is_kept_as_it_is(texts):
    texts = [text for text in texts if well_formed(text)]
    for text, plain in zip(texts, plain_texts(texts, 1000, 1000), strict=True):
        assert not plain or is_kept(text), text


@settings(max_examples=30)
@given(st.lists(COMPACT, max_size=12))
def test_compact_texts_are_found_plain(texts):
    kept = [text for text in texts if b"e+" not in text and b"e-" not in text]
    assert all(plain_texts(kept, 1000, 1000))


@pytest.mark.parametrize(
    ("text", "fields_max", "depth_max", "plain"),
    [
        (b'{"a":1,"b":2}', 2, 1, True),
        (b'{"a":1,"b":2}', 1, 1, False),
        (b'{"a":{"b":2}}', 2, 1, False),
        (b'{"a":":::[[["}', 1, 1, True),
    ],
)
def test_what_may_have_too_many_fields_or_levels_is_not(text, fields_max, depth_max, plain):
    assert plain_texts([text, b"{}"], fields_max, depth_max) == [plain, True]


class Server:
    """What reading asks of a context."""

    config = Config(limits=Limits(json_bytes_max=200))
    strict = True


def test_many_lines_are_read_as_each_of_them():
    doc = b'{"op":"doc_put","collection":"c","id":"%b","doc":%b}'
    put = b'{"op":"put","key":"%b","value":%b}'
    values = [
        b'{"a":1}',
        b'{"a": 1}',
        b'"\xff"',
        b"1e999",
        b'"%b"' % (b"x" * 300),
        b"[",
        b'"\\ud8"',
    ]
    lines = [
        form % (name, value) for form in (doc, put) for name in (b"n", b"") for value in values
    ]
    lines += [b'{"op":"delete","key":"k"}', b"{}", b"\xef\xbb\xbf" + put % (b"k", b"1"), b"]"]
    lines.append(b'{"op":"put","key":"k","valve":1}')

    def told(outcome):
        refused = isinstance(outcome, KissError)
        return (type(outcome), outcome.message) if refused else outcome

    assert list(map(told, read_lines(Server, lines))) == [
        told(read_line(Server, line)) for line in lines
    ]


GOOD_EVENTS = [
    b'{"op":"event","type":"t","data":{"a":1}}',
    b'{"op":"event","type":"t","data":{ "a" : 1 }, "key":"k"}',
    b'{"data":[1,2],"type":"u.v","op":"event","tags":["a","b"]}',
    b' {"op":"event","type":"t","data":null,"key":null,"tags":null} ',
]
OTHER_LINES = [
    b'{"op":"event","type":"t","data":1,"op_id":"o"}',
    b'{"op":"event","type":"state_updated","data":1}',
    b'{"op":"event","type":"t"}',
    b'{"op":"event","type":"t","data":1e999}',
    b'{"op":"event","type":"t","data":"\\ud800"}',
    b'{"op":"event","type":"t","data":' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"op":"event","type":"t","data":"' + b"x" * 300 + b'"}',
    b'{"op":"event","type":"t","data":1,"key":""}',
    b'{"op":"event","type":"t","data":1,"tags":[""]}',
    b'{"op":"event","type":"t","data":1,"dta":1}',
    b'{"op":"event","type":"t","data":[1',
    b"2]}",
    b'{"op":"event","type":"t","data":1},{"op":"event","type":"t","data":2}',
    b'{"op":"put","key":"k","value":1}',
    b"\xef\xbb\xbf" + b'{"op":"event","type":"t","data":1}',
    b"1",
]


@given(st.lists(st.sampled_from(GOOD_EVENTS + OTHER_LINES), min_size=1, max_size=4))
def test_events_read_together_are_read_as_each_alone(lines):
    together = read_events(Server, lines)
    alone = [read_line(Server, line) for line in lines]
    if all(line in GOOD_EVENTS for line in lines):
        assert together == list(map(record_of, alone))
    else:
        # One that is not like the others, or is wrong, is looked at by itself.
        assert together is None
