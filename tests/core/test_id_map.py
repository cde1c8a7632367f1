"""Ids to rows and back, against a dict and a list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kissvdb.core.store import hash_slots
from kissvdb.core.store.hash_slots import HashSlots
from kissvdb.core.store.id_map import IdMap
from kissvdb.errors import Damaged

SALT = b"sixteen bytes of"
IDS = st.sampled_from(["", "a", "b", "ab", "é", "\ud800", "x" * 128]) | st.text(max_size=3)


class IdMapMachine(RuleBasedStateMachine):
    """Every operation in any order, storing and vacuuming in between."""

    def __init__(self):
        super().__init__()
        self.map = IdMap(SALT)
        self.rows = {}
        self.ids = []

    @rule(id_=IDS)
    def put(self, id_):
        assert self.map.put(id_, len(self.ids)) == self.rows.get(id_)
        self.rows[id_] = len(self.ids)
        self.ids.append(id_)

    @rule(ids=st.lists(IDS | st.integers(0, 99).map(str), max_size=60))
    def put_all(self, ids):
        expected = []
        for id_ in ids:
            expected.append(self.rows.get(id_))
            self.rows[id_] = len(self.ids)
            self.ids.append(id_)
        assert self.map.put_all(ids, len(self.ids) - len(ids)) == expected

    @rule(id_=IDS)
    def delete(self, id_):
        assert self.map.delete(id_) == self.rows.pop(id_, None)

    @rule(id_=IDS)
    def get(self, id_):
        assert self.map.get(id_) == self.rows.get(id_)

    @rule()
    def store_and_open(self):
        arrays = self.map.to_arrays()
        for array in arrays.values():
            array.flags.writeable = False
        self.map = IdMap.from_arrays(arrays)

    @rule(dead=st.booleans())
    def vacuum(self, dead):
        keep = list(range(0, len(self.ids), 2)) if dead else sorted(self.rows.values())
        self.map = self.map.remap(np.array(keep, np.uint32))
        moved = {row: place for place, row in enumerate(keep)}
        self.rows = {id_: moved[row] for id_, row in self.rows.items() if row in moved}
        self.ids = [self.ids[row] for row in keep]

    @invariant()
    def agrees(self):
        assert len(self.map) == len(self.rows)
        assert self.map.row_count == len(self.ids)
        assert self.map.ids_at(range(len(self.ids))) == self.ids
        for id_, row in self.rows.items():
            assert self.map.get(id_) == row


IdMapMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestIdMap = IdMapMachine.TestCase


def test_thousands_of_ids_are_found_after_growth_deletes_and_replacement():
    map_ = IdMap(SALT)
    ids = [f"id {n}" for n in range(5000)]
    for row, id_ in enumerate(ids):
        assert map_.put(id_, row) is None
    for id_ in ids[::3]:
        map_.delete(id_)
    for place, id_ in enumerate(ids[1::3]):
        assert map_.put(id_, 5000 + place) == ids.index(id_)
    for row, id_ in enumerate(ids):
        expected = {0: None, 1: 5000 + row // 3, 2: row}[row % 3]
        assert map_.get(id_) == expected
        assert map_.id_at(row) == id_
    assert map_.get("id 5000") is None


def test_putting_and_deleting_for_ever_does_not_grow_the_table():
    map_ = IdMap(SALT)
    sizes = set()
    for row in range(20_000):
        map_.put(f"id {row}", row)
        map_.delete(f"id {row}")
        if row % 1000 == 999:
            sizes.add(len(map_.to_arrays()["slots"]))
    assert len(sizes) == 1


@given(
    st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=30, max_size=120),
    st.sampled_from([0xFFFF_FFFF, 7]),
    st.integers(0, 3),
)
def test_slots_agree_with_a_dict_when_many_tags_are_the_same(steps, tag_max, tag_bits):
    keys, slots, rows = [], HashSlots(), {}

    def tag_of(key):
        # From the highest, probing starts at the last slots and must go on at the first.
        return tag_max - (key & ((1 << tag_bits) - 1))

    def is_key(key):
        return lambda row: keys[row] == key

    for key, keep in steps:
        if keep:
            assert slots.put(tag_of(key), len(keys), is_key(key)) == rows.get(key)
            rows[key] = len(keys)
            keys.append(key)
        else:
            found = slots.delete(tag_of(key), is_key(key))
            assert found == rows.pop(key, None)
    again = HashSlots(hash_slots.placed(slots.entries()), len(rows))
    for key in range(16):
        for table in (slots, again):
            assert table.find(tag_of(key), is_key(key)) == rows.get(key)


def test_a_row_out_of_order_and_a_short_salt_are_refused():
    map_ = IdMap(SALT)
    with pytest.raises(ValueError, match="row 1 does not follow 0 rows"):
        map_.put("a", 1)
    with pytest.raises(ValueError, match="a salt has 16 bytes, not 3"):
        IdMap(b"abc")


def test_arrays_that_do_not_fit_together_are_damaged():
    map_ = IdMap(SALT)
    for row in range(100):
        map_.put(str(row), row)
    arrays = map_.to_arrays()
    for name, wrong in [
        ("slots", arrays["slots"][:-1]),
        ("slots", arrays["slots"].astype(np.int64)),
        ("offsets", arrays["offsets"][:-1]),
        ("offsets", arrays["offsets"][:0]),
        ("blob", arrays["blob"][1:]),
        ("header", arrays["header"][:-1]),
        ("header", arrays["slots"].view(np.uint8)),
    ]:
        with pytest.raises(Damaged):
            IdMap.from_arrays({**arrays, name: wrong})
    with pytest.raises(Damaged):
        IdMap.from_arrays({})
