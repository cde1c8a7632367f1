"""The rules of op_id, the same for state and for vectors."""

import pytest

from kissvdb.core.batch import fingerprint
from kissvdb.core.events.publishing import Publish
from kissvdb.core.rows import rules as collection
from kissvdb.core.rows.rules import Add, Update, Upsert
from kissvdb.core.state import rules as state
from kissvdb.core.state.rules import Patch, Precondition, Put
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import OpIdReused
from kissvdb.records import Operation


def op(command):
    return type(command)(**{**fields(command), "op_id": "x"})


def fields(command):
    return {name: getattr(command, name) for name in command.__struct_fields__}


STATE = [
    Put("a", b"1"),
    Put("a", b"2"),
    Put("b", b"1"),
    Put("a", b"1", ttl_ms=1),
    Patch("a", b"1"),
    state.Delete("a"),
    Publish("a", b"1"),
    Publish("a", b"1", key="a"),
    Publish("a", b"1", tags=("a",)),
]
VECTORS = [
    Add("a", bytes(4)),
    Upsert("a", bytes(4)),
    Upsert("b", bytes(4)),
    Upsert("a", b"\0\0\0\1"),
    Upsert("a", bytes(4), b"{}"),
    Upsert("a", bytes(4), ttl_ms=1),
    Update("a", bytes(4)),
    collection.Delete("a"),
]


class Rows:
    """A collection with one vector, ``a``, and what is remembered."""

    def __init__(self, **operations):
        self.operations = operations

    def stored(self, id_):
        return None

    def operation(self, op_id):
        return self.operations.get(op_id)


def batch_for(command, **operations):
    if command in STATE:
        return state.StateBatch(lambda _: None, operations.get, 0)
    return collection.VectorBatch(CollectionSpec("c", 1, "l2"), Rows(**operations), 0)


@pytest.mark.parametrize("family", [STATE, VECTORS])
def test_every_difference_in_what_is_asked_is_another_operation(family):
    for first in family:
        known = Operation("put", "a", 7, fingerprint=fingerprint(first))
        for second in family:
            batch = batch_for(second, x=known)
            if first == second:
                assert batch.decide(op(second)).at(50).repeated
            else:
                with pytest.raises(OpIdReused, match="nothing was written"):
                    batch.decide(op(second))
            assert batch.records == []


@pytest.mark.parametrize(
    "family", [[Put("a", b"1"), Put("a", b"2")], [Upsert("a", bytes(4)), Upsert("b", bytes(4))]]
)
def test_within_a_batch_it_is_the_same(family):
    first, second = family
    batch = batch_for(first)
    assert not batch.decide(op(first)).at(5).repeated
    again, refused = batch.decide_each([op(first), op(second)])
    assert again.at(5).repeated
    assert isinstance(refused, OpIdReused)
    assert [record.fingerprint for record in batch.records] == [fingerprint(first)]


def test_a_retry_may_carry_another_precondition():
    put = Put("a", b"1", precondition=Precondition(revision=3), op_id="x")
    assert fingerprint(put) == fingerprint(Put("a", b"1"))


def test_what_an_older_version_remembers_is_answered_as_it_was():
    batch = batch_for(STATE[0], x=Operation("put", "a", 7, 2))
    assert batch.decide(op(STATE[1])).at(50) == state.Written("a", 2, 7, repeated=True)


def test_a_record_without_an_op_id_has_no_fingerprint():
    batch = batch_for(STATE[0])
    batch.decide(op(STATE[0]))
    batch.decide(STATE[2])
    assert batch.records[1].fingerprint is None
