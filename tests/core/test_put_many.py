"""Many puts as columns: they do what as many single ones do."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.quotas import Growth
from kissvdb.core.state.hot import ENTRY_BYTES
from kissvdb.core.state.put_many import PutMany
from kissvdb.core.state.rules import Delete, Item, Put, StateBatch
from kissvdb.engine.state.view import StateView, store
from kissvdb.storage.state.table import StateTable

NOW = 1_000_000
KEYS = ["a", "b", "c", "d"]

keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=6)
items = st.dictionaries(
    st.sampled_from(KEYS),
    st.tuples(st.integers(1, 5), st.sampled_from([None, NOW - 1, NOW, NOW + 1])),
)
first = st.lists(
    st.builds(Put, st.sampled_from(KEYS), st.just(b"0"), st.none() | st.just(5))
    | st.builds(Delete, st.sampled_from(KEYS)),
    max_size=3,
)


@given(items, first, keys, st.booleans(), st.booleans())
def test_columns_are_decided_like_single_puts(items, before, keys, counted, tells_absent):
    table = {key: Item(key, b"9", revision, 7, ends) for key, (revision, ends) in items.items()}

    def batch():
        absent = (lambda keys: set(keys) - set(table)) if tells_absent else (lambda keys: set())
        known = table if tells_absent else {}
        made = StateBatch(table.get, {}.get, NOW, absent=absent, known=known)
        made.growth = Growth(()) if counted else None
        for command in before:
            made.decide(command)
        return made

    values = [b"%d" % number for number in range(len(keys))]
    many, single = batch(), batch()
    written = many.decide(PutMany(keys, values)).at(100)
    answers = [each.at(100) for each in single.decide_each(list(map(Put, keys, values)))]
    assert many.records == single.records
    assert written.revisions == [answer.revision for answer in answers]
    assert list(written.offsets) == [answer.offset for answer in answers]
    # What comes after them in the batch sees them.
    assert many.decide(Put(keys[0], b"z")) == single.decide(Put(keys[0], b"z"))


steps = st.lists(
    st.tuples(first, st.lists(st.sampled_from(KEYS), max_size=5), st.integers(0, 9)), max_size=4
)


@settings(max_examples=60)
@given(steps, st.integers(300, 1400))
def test_columns_are_taken_over_like_single_records(steps, room):
    """Batches of both, over keys that are stored in between, and pushed out of memory."""
    views = [StateView(StateTable(None), hot_bytes=room) for _ in range(2)]
    offset = 1
    for before, keys, digits in steps:
        values = [b"1" * (digits + place) for place in range(len(keys))]
        found = []
        single = list(map(Put, keys, values))
        many = [PutMany(keys, values)] if keys else []
        for view, puts in zip(views, (many, single), strict=True):
            made = StateBatch(view.get, view.operation, NOW, absent=view.absent, known=view.known)
            for command in (*before, *puts, Put("z", b"0")):
                made.decide(command)
            found.append(made)
        assert found[0].records == found[1].records
        for view, made in zip(views, found, strict=True):
            view.apply(offset, made.records, made.runs)
            assert view.hot_bytes == sum(
                ENTRY_BYTES + len(key) + (0 if item is None else len(item.value))
                for key, item in view.known.items()
            )
        offset += len(found[0].records)
        one, other = views
        assert [one.get(key) for key in KEYS] == [other.get(key) for key in KEYS]
        assert one.overlay() == other.overlay()
        assert one.written_bytes == other.written_bytes
        assert one.expired(NOW + 9, 99) == other.expired(NOW + 9, 99)
        if digits > 6:
            for view in views:
                sealed = view.freeze()
                store(view.table, sealed)
                view.stored(sealed)
    for view in views:
        view.table.close()
