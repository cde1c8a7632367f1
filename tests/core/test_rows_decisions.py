"""What a command does to a vector, decided against the rows and the batch so far."""

import pytest

from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import (
    Add,
    Delete,
    DeletedVector,
    Update,
    Upsert,
    VectorBatch,
    WrittenVector,
)
from kissvdb.core.state.rules import EXPIRES_AT_MS_MAX
from kissvdb.errors import AlreadyExists, DimMismatch, InvalidArgument, NotFound
from kissvdb.records import VectorDeleted, VectorWritten
from tests.core.row_world import World, raw

ONE, TWO = raw([1, 1]), raw([2, 2])


@pytest.fixture
def here():
    return World(CollectionSpec("c", 2, "dot"))


def test_add_writes_once(here):
    assert here.run(Add("a", ONE)) == [WrittenVector("a", 1)]
    refused, other = here.run(Add("a", TWO), Add("b", ONE))
    assert isinstance(refused, AlreadyExists)
    assert "already exists" in refused.message
    assert other == WrittenVector("b", 2)
    assert here.view().get("a").vector == ONE


def test_a_batch_sees_what_it_decided_before(here):
    outcomes = here.run(
        Add("a", ONE),
        Add("a", ONE),
        Update("a", meta=b"1"),
        Delete("a"),
        Delete("a"),
        Add("a", TWO),
    )
    assert [type(each) for each in outcomes] == [
        WrittenVector,
        AlreadyExists,
        WrittenVector,
        DeletedVector,
        NotFound,
        WrittenVector,
    ]
    assert [each.offset for each in outcomes if not isinstance(each, Exception)] == [1, 2, 3, 4]
    assert here.view().get("a").vector == TWO
    assert here.view().get("a").meta is None


def test_upsert_replaces_the_whole_record(here):
    here.run(Add("a", ONE, b'{"x":1}'), Upsert("a", TWO))
    stored = here.view().get("a")
    assert (stored.vector, stored.meta) == (TWO, None)


def test_update_keeps_the_parts_it_does_not_name(here):
    here.run(Add("a", ONE, b'{"x":1}', ttl_ms=500))
    here.run(Update("a", TWO))
    here.run(Update("a", meta=b'{"y":2}'))
    stored = here.view().get("a")
    assert (stored.vector, stored.meta) == (TWO, b'{"y":2}')
    assert stored.expires_at_ms == here.now_ms + 500
    assert [record.kind for _, record in here.log] == ["added", "updated", "updated"]
    assert here.log[-1][1].vector == TWO


def test_update_and_delete_of_a_missing_id_are_refused(here):
    assert [type(each) for each in here.run(Update("a", ONE), Delete("a"))] == [NotFound] * 2
    assert here.log == []


@pytest.mark.parametrize("command", [Add, Upsert, Update])
@pytest.mark.parametrize("vector", [b"", raw([1]), raw([1, 2, 3]), b"12345"])
def test_a_vector_of_another_length_is_refused(here, command, vector):
    here.run(Add("here", ONE))
    (refused,) = here.run(command("here", vector))
    assert isinstance(refused, (DimMismatch, AlreadyExists))
    (refused,) = here.run(Upsert("new", vector))
    assert isinstance(refused, DimMismatch)
    assert len(here.log) == 1


def test_a_repeated_op_id_is_answered_and_not_applied_again(here):
    first = here.run(Add("a", ONE, op_id="1"), Add("a", ONE, op_id="1"))
    assert first == [WrittenVector("a", 1), WrittenVector("a", 1, repeated=True)]
    assert here.run(Add("a", ONE, op_id="1")) == first[1:]
    deleted = here.run(Delete("a", op_id="2"), Delete("a", op_id="2"))
    assert deleted == [DeletedVector("a", 2), DeletedVector("a", 2, repeated=True)]
    assert here.run(Delete("a", op_id="2")) == deleted[1:]
    assert len(here.log) == 2


def test_a_refused_op_id_may_be_tried_again(here):
    (refused,) = here.run(Delete("a", op_id="1"))
    assert isinstance(refused, NotFound)
    here.run(Add("a", ONE))
    assert here.run(Delete("a", op_id="1")) == [DeletedVector("a", 2)]


def test_times_come_from_the_command_then_the_collection():
    here = World(CollectionSpec("c", 2, "dot", ttl_ms=100))
    given, default = here.run(Add("a", ONE, ttl_ms=7), Add("b", ONE))
    assert given.expires_at_ms == here.now_ms + 7
    assert default.expires_at_ms == here.now_ms + 100
    (refused,) = here.run(Upsert("a", ONE, ttl_ms=EXPIRES_AT_MS_MAX))
    assert isinstance(refused, InvalidArgument)


def test_the_end_of_an_expired_vector_is_logged_before_its_new_life(here):
    here.run(Add("a", ONE, ttl_ms=1))
    here.now_ms += 1
    assert isinstance(here.run(Update("a", TWO))[0], NotFound)
    assert isinstance(here.run(Delete("a"))[0], NotFound)
    assert here.run(Add("a", TWO)) == [WrittenVector("a", 3)]
    assert here.log[1:] == [
        (2, VectorDeleted("c", "a", "ttl")),
        (3, VectorWritten("added", "c", "a", TWO)),
    ]


def test_expiring_ends_only_what_is_still_past_its_time(here):
    here.run(Add("a", ONE, ttl_ms=1), Add("b", ONE, ttl_ms=1))
    here.now_ms += 1
    batch = VectorBatch(here.spec, here.rows, here.now_ms)
    batch.decide(Upsert("a", TWO))
    batch.expire(["a", "b", "gone"])
    here.commit(batch)
    assert [type(record) for record in batch.records] == [
        VectorDeleted,
        VectorWritten,
        VectorDeleted,
    ]
    assert list(here.model) == ["a"]


def test_delete_all_counts_what_was_there(here):
    here.run(Add("a", ONE), Add("b", ONE))
    batch = VectorBatch(here.spec, here.rows, here.now_ms)
    assert batch.delete_all(["a", "x", "a", "b"]) == 2
    here.commit(batch)
    assert here.model == {}


def test_a_batch_says_how_much_room_its_rows_need(here):
    batch = VectorBatch(here.spec, here.rows, here.now_ms)
    batch.decide_each([Add("ä", ONE, b"123"), Add("b", ONE), Delete("b")])
    assert batch.rows == 2
    assert batch.blob_bytes >= len("äb".encode()) + 3
