"""The examples of RFC 7396, appendix A, and that nothing else changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.state import merge_patch


def apply(target, patch):
    return merge_patch.apply(None if target is None else target.encode(), patch.encode()).decode()


EXAMPLES = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_the_example_of_the_rfc_comes_out(target, patch, result):
    assert apply(target, patch) == result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (
            '{"a":0.10,"b":-0,"n":12345678901234567890.123}',
            '{"c":1}',
            '{"a":0.10,"b":-0,"n":12345678901234567890.123,"c":1}',
        ),
        # In the depth, and behind what changes.
        (
            '{"o":{"x":1e2,"y":1E+2},"l":[1.0,-0.0],"z":"\\u00e9\\/"}',
            '{"o":{"x":0.50}}',
            '{"o":{"x":0.50,"y":1E+2},"l":[1.0,-0.0],"z":"\\u00e9\\/"}',
        ),
        ('{"' + "9" * 10 + '":' + "9" * 9000 + "}", '{"b":null}', None),
        # Names as they were written, and places as they were.
        ('{"\\u0061":1,"b":2}', '{"a":3}', '{"\\u0061":3,"b":2}'),
        ('{"b":1,"a":2}', '{"a":0,"b":0}', '{"b":0,"a":0}'),
        ('{"a":{},"b":[]}', '{"a":{"c":{}}}', '{"a":{"c":{}},"b":[]}'),
        # Twice the same name: the last counts, and both stay if they are not meant.
        ('{"a":1,"a":2,"b":1}', '{"b":null}', '{"a":1,"a":2}'),
        ('{"a":{"x":1},"a":{"y":1.0},"b":1}', '{"a":{"z":2}}', '{"a":{"y":1.0,"z":2},"b":1}'),
        ('{"a":1,"a":2}', '{"a":null}', "{}"),
        ("{}", '{"a":1,"a":{"b":2,"c":null}}', '{"a":{"b":2}}'),
        (None, '{"a":null,"b":{"c":null}}', '{"b":{}}'),
        (None, "-0", "-0"),
        ('{"a":"}\\",{"}', '{"b":"\\\\"}', '{"a":"}\\",{","b":"\\\\"}'),
    ],
)
def test_what_is_not_touched_keeps_its_bytes(target, patch, result):
    assert apply(target, patch) == (target if result is None else result)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


def plainly(target, patch):
    """RFC 7396, section 2, in its own words."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = plainly(target.get(name), value)
    return target


@given(JSON, JSON, st.booleans())
def test_it_is_the_merge_of_the_rfc(target, patch, ascii_only):
    texts = (
        json.dumps(each, ensure_ascii=ascii_only, separators=(",", ":")) for each in (target, patch)
    )
    assert json.loads(apply(*texts)) == plainly(target, patch)
