"""What a key may touch: decided by names, all of a prefix or nothing of it, and read strictly."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.grants import KINDS, PATTERN_BYTES_MAX, PATTERNS_MAX, Grants
from kissvdb.errors import MistypedField

PARTS = st.sampled_from(["doc:", "docs:", "vector:", ":manifest", ":", "a", "b", "ab", "/"])
KEY = st.lists(PARTS, max_size=4).map("".join)
PATTERN = st.builds(lambda name, star: name + star, KEY, st.sampled_from(["", "*"])).filter(bool)
PATTERNS = st.lists(PATTERN, max_size=3).map(tuple)
GRANTS = st.builds(Grants, keys=PATTERNS, vectors=PATTERNS, documents=PATTERNS)
WHOLE = Grants(keys=("*",), vectors=("*",), documents=("*",))


@attrs.frozen
class Seen:
    type: str
    key: str | None = None
    collection: str | None = None
    tables: tuple[str, ...] = ()


def test_a_pattern_is_a_name_or_the_beginning_of_names():
    grants = Grants(keys=("a:*", "b"), vectors=("v",), documents=("d_*",), tables=("T_*", "u"))
    assert [grants.may_key(key) for key in ("a:", "a:1", "a", "b", "b1", "")] == [
        *(True, True, False, True),
        *(False, False),
    ]
    assert grants.may_vectors("v")
    assert not grants.may_vectors("v2")
    assert grants.may_documents("d_1")
    assert not grants.may_documents("d")
    assert grants.may_table("t_X")
    assert grants.may_table("U")
    # Only of ASCII, as SQLite does it.
    assert not Grants(tables=("ä",)).may_table("Ä")


def test_a_kind_without_patterns_allows_nothing():
    grants = Grants(events=("chat",))
    assert not grants.may_key("")
    assert not grants.may_prefix("")
    assert not grants.may_vectors("v")
    assert not grants.may_documents("d")
    assert not grants.may_table("t")
    assert grants.may_event("chat")
    assert not grants.may_event("other")
    assert not grants.may_event("chat", "key")


def test_what_a_key_belongs_to_decides():
    keys, documents, vectors = Grants(keys=("*",)), Grants(documents=("*",)), Grants(vectors=("*",))
    for key, by in [
        ("a", keys),
        ("doc:notes:1", documents),
        ("doc:notes", documents),
        ("docs:notes:manifest", documents),
        ("docs:notes:other", keys),
        ("vector:c:manifest", vectors),
        ("vector:c:other", keys),
    ]:
        assert [each.may_key(key) for each in (keys, documents, vectors)] == [
            each is by for each in (keys, documents, vectors)
        ], key


def test_a_prefix_is_granted_when_all_keys_that_begin_so_are():
    grants = Grants(keys=("a:*", "v*"), documents=("n", "m*"), vectors=("c",))
    for prefix in ("a:", "a:1", "doc:n:", "doc:n:1", "doc:m", "doc:m1:x"):
        assert grants.may_prefix(prefix), prefix
    for prefix in ("", "a", "b", "doc:", "doc:n", "docs:", "docs:n:manifest", "v", "vector:"):
        assert not grants.may_prefix(prefix), prefix
    assert grants.may_prefix("vector:c:")
    assert not grants.may_prefix("vector:d:")
    assert grants.prefixes == ("a:", "doc:m", "doc:n:")
    assert WHOLE.may_prefix("")
    assert WHOLE.prefixes == ("", "doc:")


@given(GRANTS, KEY, KEY)
def test_no_key_is_listed_that_may_not_be_read(grants, prefix, rest):
    if grants.may_prefix(prefix):
        assert grants.may_key(prefix + rest)


@settings(max_examples=50)
@given(GRANTS)
def test_what_is_named_as_a_prefix_may_be_listed(grants):
    assert all(map(grants.may_prefix, grants.prefixes))


@settings(max_examples=50)
@given(KEY)
def test_all_is_granted_to_who_has_all(key):
    assert WHOLE.may_key(key)
    assert WHOLE.may_prefix(key)


def test_events_of_the_stream_are_seen_by_what_they_are_about():
    grants = Grants(
        keys=("a:*",), vectors=("v",), documents=("d",), tables=("t",), events=("chat*",)
    )
    for seen in (
        Seen("state_updated", "a:1"),
        Seen("state_deleted", "doc:d:1"),
        Seen("vector_added", collection="v"),
        Seen("vector_collection_deleted", collection="v"),
        Seen("sql_row_changed", tables=("T",)),
        Seen("chat"),
        Seen("chat_line", "a:1"),
    ):
        assert grants.may_see(seen), seen
    everything = Grants(**dict.fromkeys(KINDS, ("*",)))
    for seen in (
        Seen("state_updated", "b:1"),
        Seen("state_updated", "doc:e:1"),
        Seen("vector_added", collection="w"),
        Seen("sql_row_changed", tables=("u",)),
        Seen("sql_executed", tables=("T", "u")),
        Seen("talk"),
        Seen("chat", "b:1"),
    ):
        assert not grants.may_see(seen), seen
        assert everything.may_see(seen), seen
    for type_ in ("api_key_issued", "api_key_revoked", "audit", "batch_committed", "sql_executed"):
        assert not everything.may_see(Seen(type_))


def test_routes_only_take_away():
    assert Grants(keys=("*",)).may_route("GET", "/v1/state/{key}")
    grants = Grants(keys=("*",), routes=("GET /v1/state*", "/v1/doc/*"))
    assert grants.may_route("GET", "/v1/state/{key}")
    assert grants.may_route("HEAD", "/v1/state/{key}")
    assert not grants.may_route("PUT", "/v1/state/{key}")
    assert grants.may_route("PUT", "/v1/doc/{collection}")
    assert not Grants(routes=()).may_route("GET", "/v1/state")


@settings(max_examples=50)
@given(st.fixed_dictionaries({}, optional={kind: PATTERNS.map(list) for kind in KINDS}))
def test_what_is_written_is_read_back(value):
    value["keys"] = [each for each in value.get("keys", []) if not each.startswith("doc:")]
    value = {kind: [p for p in found if "*" not in p[:-1]] for kind, found in value.items()}
    grants = Grants.from_json(value)
    assert Grants.from_json(grants.to_json()) == grants
    assert hash(Grants.from_json(grants.to_json())) == hash(grants)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "scopes: expected an object"),
        ({}, "scopes: nothing is granted"),
        ({"key": []}, r"scopes\.key: unknown; did you mean keys"),
        ({"x": []}, "known are keys, vectors"),
        ({"keys": "a"}, r"scopes\.keys: expected a list"),
        ({"keys": ["a", 1]}, r"scopes\.keys\[1\]: expected a name"),
        ({"keys": [""]}, "expected a name"),
        ({"keys": ["a*b"]}, "only at the end"),
        ({"keys": ["doc:a:*"]}, "under documents"),
        ({"events": ["é" * (PATTERN_BYTES_MAX // 2 + 1)]}, f"over {PATTERN_BYTES_MAX} bytes"),
        ({"tables": ["t"] * (PATTERNS_MAX + 1)}, f"at most {PATTERNS_MAX}"),
    ],
)
def test_what_cannot_be_meant_is_refused(value, says):
    with pytest.raises(MistypedField, match=says):
        Grants.from_json(value)
