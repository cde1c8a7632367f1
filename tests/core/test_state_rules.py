"""The rules of state, decided against a dict."""

import attrs
import msgspec
import pytest

from kissvdb.core.events.publishing import Publish, Published
from kissvdb.core.state.rules import (
    Delete,
    Deleted,
    Item,
    Patch,
    Precondition,
    Put,
    StateBatch,
    Written,
)
from kissvdb.errors import (
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    Refused,
    RevisionMismatch,
)
from kissvdb.records import KeyDeleted, KeyWritten, Operation

NOW = 1_000_000


def batch(*items, operations=None, **options):
    table = {item.key: item for item in items}
    return StateBatch(table.get, (operations or {}).get, NOW, **options)


def test_a_first_put_is_revision_one_and_gets_the_offset_of_its_record():
    decided = batch()
    decision = decided.decide(Put("a", b"1"))
    assert decided.records == [KeyWritten("a", b"1", 1)]
    assert decision.at(40) == Written("a", 1, 40)


def test_commands_of_one_batch_see_each_other():
    decided = batch()
    answers = [decided.decide(Put("a", b"1")), decided.decide(Put("a", b"2"))]
    assert [answer.at(10) for answer in answers] == [Written("a", 1, 10), Written("a", 2, 11)]
    assert decided.decide(Delete("a")).at(10) == Deleted(deleted=True, offset=12)
    assert decided.decide(Delete("a")).at(10) == Deleted(deleted=False, offset=None)


def test_a_refused_command_leaves_no_trace_in_the_batch():
    decided = batch(Item("a", b"1", 3, 7))
    with pytest.raises(RevisionMismatch, match="revision 3, not at revision 2: read the key"):
        decided.decide(Put("a", b"2", precondition=Precondition(revision=2)))
    assert decided.records == []
    assert decided.decide(Put("a", b"2", precondition=Precondition(revision=3))).at(8).revision == 4


@pytest.mark.parametrize(
    ("precondition", "live", "holds"),
    [
        (Precondition(revision=0), None, True),
        (Precondition(revision=0), Item("a", b"1", 1, 5), False),
        (Precondition(revision=1), None, False),
        (Precondition(offset=5), Item("a", b"1", 1, 5), True),
        (Precondition(offset=4), Item("a", b"1", 1, 5), False),
        (Precondition(offset=5), None, False),
        (Precondition(absent=True), None, True),
        (Precondition(absent=True), Item("a", b"1", 1, 5), False),
        (Precondition(absent=False), Item("a", b"1", 1, 5), True),
        (Precondition(absent=False), None, False),
    ],
)
@pytest.mark.parametrize("command", [Put("a", b"2"), Delete("a"), Patch("a", b"{}")])
def test_a_precondition_holds_or_refuses(precondition, live, holds, command):
    decided = batch(*([live] if live else []))
    command = msgspec.structs.replace(command, precondition=precondition)
    if holds:
        decided.decide(command)
    else:
        with pytest.raises(NotFound if precondition.absent is False else RevisionMismatch):
            decided.decide(command)
        header = attrs.evolve(precondition, from_header=True)
        with pytest.raises(PreconditionFailed):
            decided.decide(msgspec.structs.replace(command, precondition=header))


def test_the_offset_of_a_write_that_is_not_answered_yet_matches_no_precondition():
    decided = batch(Item("a", b"1", 1, 5))
    decided.decide(Put("a", b"2"))
    with pytest.raises(RevisionMismatch):
        decided.decide(Put("a", b"3", precondition=Precondition(offset=5)))


def test_a_put_over_an_expired_key_logs_its_end_first_and_starts_at_revision_one():
    decided = batch(Item("a", b"1", 9, 5, expires_at_ms=NOW))
    decided.decide(Put("a", b"2", ttl_ms=50))
    assert decided.records == [KeyDeleted("a", "ttl"), KeyWritten("a", b"2", 1, NOW + 50)]


def test_an_expired_key_is_absent_for_delete_and_preconditions():
    decided = batch(Item("a", b"1", 9, 5, expires_at_ms=NOW - 1))
    assert decided.decide(Delete("a")).at(1) == Deleted(deleted=False)
    with pytest.raises(RevisionMismatch, match="does not exist"):
        decided.decide(Put("a", b"2", precondition=Precondition(revision=9)))


def test_expiry_spares_a_key_that_the_same_batch_wrote_again():
    decided = batch(Item("a", b"1", 1, 5, expires_at_ms=NOW - 1), Item("b", b"1", 1, 6, NOW - 1))
    decided.decide(Put("a", b"2"))
    before = len(decided.records)
    decided.expire(["a", "b", "gone"])
    assert decided.records[before:] == [KeyDeleted("b", "ttl")]


def test_a_patch_merges_and_keeps_the_ttl_unless_it_brings_one():
    live = Item("a", b'{"p":1,"q":{"r":1,"s":2}}', 1, 5, expires_at_ms=NOW + 9)
    decided = batch(live)
    decided.decide(Patch("a", b'{"p":null,"q":{"r":7},"t":12345678901234567890123}'))
    record = decided.records[-1]
    assert record.value == b'{"q":{"r":7,"s":2},"t":12345678901234567890123}'
    assert record.expires_at_ms == NOW + 9
    decided.decide(Patch("a", b"{}", ttl_ms=100))
    assert decided.records[-1].expires_at_ms == NOW + 100


def test_a_patch_of_a_missing_key_drops_nulls():
    decided = batch()
    decided.decide(Patch("a", b'{"x":null,"y":{"z":null,"w":1}}'))
    assert decided.records[-1].value == b'{"y":{"w":1}}'


def test_a_patch_may_not_grow_a_value_over_the_limit():
    decided = batch(Item("a", b'{"x":"' + b"x" * 80 + b'"}', 1, 5), json_bytes_max=100)
    with pytest.raises(PayloadTooLarge, match="limit is 100"):
        decided.decide(Patch("a", b'{"y":"' + b"y" * 80 + b'"}'))
    assert decided.records == []


def test_a_patch_that_is_nested_too_deeply_is_refused():
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        batch().decide(Patch("a", deep))


def test_a_ttl_beyond_the_end_of_time_is_refused():
    with pytest.raises(InvalidArgument, match="end of time"):
        batch().decide(Put("a", b"1", ttl_ms=2**64 - 1))


def test_a_repeated_operation_is_answered_and_not_done_again():
    operations = {
        "p": Operation("put", "a", 11, 4, 99),
        "d": Operation("delete", "a", 12),
        "e": Operation("event", "", 13),
    }
    decided = batch(operations=operations)
    assert decided.decide(Put("a", b"1", op_id="p")).at(50) == Written("a", 4, 11, 99, True)
    assert decided.decide(Delete("a", op_id="d")).at(50) == Deleted(True, 12, repeated=True)
    assert decided.decide(Publish("t", b"{}", op_id="e")).at(50) == Published(13, repeated=True)
    assert decided.records == []


def test_an_operation_repeated_within_a_batch_is_logged_once():
    decided = batch()
    twice = [decided.decide(Put("a", b"1", op_id="x")) for _ in range(2)]
    assert [each.at(5) for each in twice] == [
        Written("a", 1, 5),
        Written("a", 1, 5, repeated=True),
    ]
    assert len(decided.records) == 1


def test_each_command_of_many_is_decided_for_itself():
    decided = batch(Item("a", b"1", 1, 5))
    good, bad, also = decided.decide_each(
        [Put("b", b"1"), Put("a", b"2", precondition=Precondition(revision=0)), Put("a", b"3")]
    )
    assert isinstance(bad, Refused)
    assert (good.at(7).offset, also.at(7).offset) == (7, 8)
