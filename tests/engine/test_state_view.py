"""The view of a shard: a table, and what is newer, whatever has been stored of it."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Config, Storage
from kissvdb.core.state import hot
from kissvdb.core.state.rules import Delete, Put
from kissvdb.engine.opening import open_database
from kissvdb.engine.state import view as state_view
from kissvdb.engine.state.view import StateView
from kissvdb.records import EventPublished, Item, KeyDeleted, KeyWritten
from kissvdb.storage.state.table import StateTable
from tests.patience import PATIENCE_SECS

KEYS = ["a", "aa", "ab", "b", "b\ud7ff", "\U0010ffff"]
key = st.sampled_from(KEYS)
op_id = st.none() | st.sampled_from(["one", "two"])
records = st.one_of(
    st.builds(KeyWritten, key, st.just(b"1"), st.integers(1, 3), st.none() | st.just(50), op_id),
    st.builds(KeyDeleted, key, st.just("explicit"), op_id),
    st.builds(EventPublished, st.just("note"), st.just(b"1"), op_id=op_id),
)
steps = st.lists(records | st.sampled_from(["freeze", "store", "list"]), max_size=40)


def new_view():
    return StateView(StateTable(None))


def look(view):
    found, more = view.scan("", after=None, limit=99, now_ms=0)
    assert not more
    return found


def test_a_key_that_is_there_is_never_among_the_absent_ones():
    view = new_view()
    odd = ["nul\0", "nul\0more", 'quote"', "back\\slash", "\u2028", "[1]"]
    view.apply(1, [KeyWritten(each, b"1", 1) for each in odd])
    state_view.store(view.table, frozen := view.freeze())
    view.stored(frozen)
    view.freeze()
    assert view.absent([*odd, "new", "nul", "nul\0new"]) == {"new", "nul"}


@given(steps, st.sampled_from([0, 400, 800, 10**6]), st.integers(1, 5))
def test_a_read_sees_the_last_write_wherever_it_is(steps, hot_bytes, sealed_entries):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_view, "SEALED_ENTRIES", sealed_entries)
        patch.setattr(hot, "AT_ONCE", 2)
        read_all_the_time(steps, hot_bytes)


def read_all_the_time(steps, hot_bytes):
    view, frozen = StateView(StateTable(None), hot_bytes=hot_bytes), None
    keys, operations = {}, {}
    for offset, step in enumerate(steps, 1):
        if step == "freeze":
            frozen = view.freeze() if frozen is None else frozen
        elif step == "store":
            if frozen is not None:
                state_view.store(view.table, frozen)
                view.stored(frozen)
                frozen = None
        elif step == "list":
            assert look(view) == [keys[each] for each in sorted(keys)]
        else:
            view.apply(offset, [step])
            if isinstance(step, KeyWritten):
                value = (step.value, step.revision, offset, step.expires_at_ms)
                keys[step.key] = Item(step.key, *value)
            elif isinstance(step, KeyDeleted):
                keys.pop(step.key, None)
            if step.op_id is not None:
                operations[step.op_id] = offset
        assert {each: view.get(each) for each in KEYS} == {each: keys.get(each) for each in KEYS}
        assert view.absent(KEYS) <= set(KEYS) - set(keys)
        overlaid = {each: view.table.get(each) for each in KEYS}
        for layer in reversed(view.overlay()):
            overlaid |= layer
        assert overlaid == {each: keys.get(each) for each in KEYS}
    assert look(view) == [keys[each] for each in sorted(keys)]
    for now_ms in (49, 50):
        gone = {each for each, item in keys.items() if item.expires_at_ms == 50 <= now_ms}
        assert set(view.expired(now_ms, 99)) == gone
        live, _ = view.scan("", after=None, limit=99, now_ms=now_ms)
        assert [item.key for item in live] == sorted(keys.keys() - gone)
        assert len(view.expired(now_ms, 1)) == min(1, len(gone))
    for prefix in ("a", "b", "c"):
        mine = sorted(each for each in keys if each.startswith(prefix))
        page, more = view.scan(prefix, after=None, limit=1, now_ms=0)
        assert ([item.key for item in page], more) == (mine[:1], len(mine) > 1)
        rest, _ = view.scan(prefix, after="aa", limit=99, now_ms=0)
        assert [item.key for item in rest] == [each for each in mine if each > "aa"]
    for name in ("one", "two"):
        found = view.operation(name)
        assert (found and found.offset) == operations.get(name)
    view.table.close()


def test_a_page_ends_before_it_grows_too_large():
    view = new_view()
    value = b'"' + b"x" * (state_view.LIST_BYTES_MAX // 3) + b'"'
    view.apply(1, [KeyWritten(f"k{n}", value, 1) for n in range(1, 6)])
    items, more = view.scan("", after=None, limit=10, now_ms=0)
    assert 1 <= len(items) < 5
    assert more
    view.table.close()


async def test_a_full_view_asks_to_be_stored_and_makes_writers_wait(nursery, monkeypatch):
    monkeypatch.setattr(state_view, "ENTRIES_MAX", 500)
    view = new_view()
    done = []

    async def write():
        await view.wait_for_room()
        done.append(view.pending_entries)

    def fill(first, count):
        view.apply(first, [KeyWritten(f"k{n}", b"1", 1) for n in range(first, first + count)])

    fill(1, 500)
    assert view.store_due.is_set()
    await write()
    fill(501, 500)
    nursery.start_soon(write)
    await wait_all_tasks_blocked()
    assert done == [500]
    memtable = view.freeze()
    await wait_all_tasks_blocked()
    assert done == [500, 1000]
    state_view.store(view.table, memtable)
    view.stored(memtable)
    assert (view.pending_entries, view.table.get("k1").offset) == (0, 1)
    view.table.close()


def test_one_memtable_is_stored_at_a_time():
    view = new_view()
    view.apply(1, [KeyWritten("a", b"1", 1)])
    view.freeze()
    with pytest.raises(RuntimeError, match="would be lost"):
        view.freeze()
    view.table.close()


async def test_without_writes_nobody_waits():
    view = new_view()
    with trio.fail_after(PATIENCE_SECS):
        await view.wait_for_room()
    view.table.close()


def test_what_left_memory_while_it_was_being_stored_still_ends():
    view = StateView(StateTable(None), hot_bytes=0)
    view.apply(1, [KeyWritten("a", b"1", 1, 50), KeyWritten("b", b"1", 1)])
    frozen = view.freeze()
    state_view.store(view.table, frozen)
    for number in range(2000):
        view.get(f"cold{number}")
    assert "a" not in view.known
    assert view.expired(50, 9) == ["a"]
    view.stored(frozen)
    assert view.expired(50, 9) == ["a"]
    view.table.close()


@pytest.mark.parametrize("at_once", [1, 1000, 3000])
def test_keys_in_memory_stay_within_their_bytes_however_many_come_at_once(at_once):
    room = 2**20
    view = StateView(StateTable(None), hot_bytes=room)
    for first in range(1, 20_000 if at_once > 1 else 5_000, at_once):
        offsets = range(first, first + at_once)
        view.apply(first, [KeyWritten(f"k{offset}", b"1", 1) for offset in offsets])
        if first == 1 or at_once > 1 or first % 500 == 1:
            state_view.store(view.table, frozen := view.freeze())
            view.stored(frozen)
    # What the table has not got is kept, and goes with the next that comes.
    view.get("cold")
    assert view.hot_bytes <= room
    assert view.get("k1").offset == 1
    view.table.close()


def test_many_keys_end_some_at_a_time_each_once():
    view = new_view()
    view.apply(1, [KeyWritten(f"a{n:02}", b"1", 1, 10 + n % 3) for n in range(20)])
    state_view.store(view.table, frozen := view.freeze())
    view.stored(frozen)
    view.apply(21, [KeyWritten(f"b{n:02}", b"1", 1, 10 + n % 3) for n in range(20)])
    # Written again: one for good, one with a later end.
    view.apply(41, [KeyWritten("a00", b"2", 2), KeyWritten("b00", b"2", 2, 99)])
    ended, offset, frozen = [], 43, None
    while keys := view.expired(50, 3):
        view.apply(offset, [KeyDeleted(key, "ttl") for key in keys])
        ended += keys
        offset += len(keys)
        if frozen is None and len(ended) > 9:
            state_view.store(view.table, frozen := view.freeze())
        elif frozen is not None and view.unstored and len(ended) > 15:
            view.stored(frozen)
    assert sorted(ended) == [f"{name}{n:02}" for name in "ab" for n in range(1, 20)]
    assert view.expired(99, 3) == ["b00"]
    view.table.close()


async def test_a_list_passes_by_keys_that_are_gone_in_turns(monkeypatch):
    monkeypatch.setattr(state_view, "PASSED_MAX", 7)
    async with open_database(Config(storage=Storage(memory=True))) as db:
        await db.write_many([Put(f"k{n:02}", b"1") for n in range(60)])
        left = ["k05", "k33", "k34"]
        gone = [f"k{n:02}" for n in range(60) if f"k{n:02}" not in left]
        await db.write_many([Delete(key) for key in gone])
        before, (shard,) = db.last_offset, db.sources.state.shards
        assert shard.view.page("k", "k06", 9, 0) == ([], "k13")
        for at in (None, before):
            found, after = [], None
            while True:
                if at is None:
                    page = await db.list("k", limit=2, after=after)
                    assert page.items or page.cursor is None
                else:
                    page = await db.past.page("k", 2, after, at)
                assert page.offset == before
                found += [item.key for item in page.items]
                if (after := page.cursor) is None:
                    break
            assert found == left
        assert shard.view.scan("k", after="k05", limit=1, now_ms=0)[0][0].key == "k33"
