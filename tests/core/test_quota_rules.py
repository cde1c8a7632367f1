"""What counts under a key's quota, and how limits are read."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kissvdb.core.grants import Grants
from kissvdb.core.quotas import Amount, KeyLimits, Scope, check
from kissvdb.errors import MistypedField, QuotaExceeded


def test_limits_are_read_strictly_and_said_again():
    said = {"requests_per_sec": 5, "rows_max": 0}
    limits = KeyLimits.from_json(said)
    assert limits == KeyLimits(requests_per_sec=5, rows_max=0)
    assert limits.to_json() == said
    assert limits.counts
    assert not KeyLimits(streams_max=1).counts
    for wrong in ({"rows": 1}, {"rows_max": True}, {"rows_max": 1.0}, {"rows_max": -1}, [], "x"):
        with pytest.raises(MistypedField, match="limits"):
            KeyLimits.from_json(wrong)
    with pytest.raises(MistypedField, match=r"limits.row_max: unknown; did you mean rows_max"):
        KeyLimits.from_json({"row_max": 1})


def test_what_would_be_more_than_the_quota_is_refused_with_the_figures():
    limits = KeyLimits(rows_max=10, bytes_max=100)
    check(limits, Amount(9, 50), Amount(1, 50))
    with pytest.raises(QuotaExceeded, match="holds 10 and this asks for 2") as refused:
        check(limits, Amount(10, 0), Amount(2, 0))
    assert refused.value.quota == {"what": "rows", "used": 10, "asked": 2, "limit": 10}
    with pytest.raises(QuotaExceeded) as refused:
        check(limits, Amount(0, 90), Amount(0, 11))
    assert refused.value.quota["what"] == "bytes"
    # One that is over its quota already may still make it less, and change what is there.
    check(limits, Amount(20, 500), Amount(0, -1))


PATTERNS = st.lists(
    st.text("ab:", min_size=1, max_size=4).flatmap(lambda t: st.sampled_from([t, t + "*"])),
    max_size=6,
).map(tuple)


@given(keys=PATTERNS, documents=PATTERNS, name=st.text("ab:", max_size=6), shape=st.integers(0, 2))
@example(keys=(), documents=("a",), name="a", shape=1)
def test_what_counts_is_what_the_grants_allow(keys, documents, name, shape):
    grants = Grants(keys=keys, documents=documents)
    key = (name, f"doc:{name}", f"docs:{name}:manifest")[shape]
    scope = Scope.of(grants)
    if grants.may_key(key):
        assert scope.has(key)
    for one in scope.starts:
        assert not any(one != other and one.startswith(other) for other in scope.starts)
        assert not any(each.startswith(one) for each in scope.names)


def test_a_key_without_scopes_counts_everything():
    assert Scope.of(None).has("anything")
    assert not Scope.of(Grants(vectors=("v*",))).has("v")
