"""Many puts as columns: they do what as many single ones do."""

from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.quotas import Growth
from kissvdb.core.state.put_many import PutMany
from kissvdb.core.state.rules import Delete, Item, Put, StateBatch

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
