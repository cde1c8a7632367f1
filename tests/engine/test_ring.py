"""The ring against a plain list, through every wrap."""

from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.events.publishing import StreamQuery
from kissvdb.core.events.stream import WORK_MAX, Event, compile_filter, event_of
from kissvdb.engine.followers import Committed
from kissvdb.engine.stream.ring import MADE_MAX, Ring
from kissvdb.records import (
    BatchCommitted,
    EventPublished,
    KeyWritten,
    VectorWritten,
    encode,
)

CAPACITY = 16


def committed(first_offset, datas):
    records = [EventPublished("t", data) for data in datas]
    payloads = [encode(record) if record.data else b"" for record in records]
    return Committed(first_offset - 1, first_offset, 7, records, payloads)


@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(1, 40), min_size=1, max_size=40),
            st.just("transient"),
        ),
        max_size=30,
    ),
    st.integers(0, 5),
    st.integers(0, 3),
)
def test_a_ring_holds_the_newest_events_and_knows_their_places(steps, skipped, repeated):
    ring = Ring(events_max=CAPACITY, bytes_max=300, last_offset=10)
    model = []
    offset = 10
    for step in steps:
        if step == "transient":
            ring.append(Event(None, 0, "t", b"22"))
            model.append((offset, 2, None))
        else:
            offset += skipped if not repeated else 0
            payloads = [b"1" * size for size in step]
            # A restarted hub may hear again of what it knows.
            first = max(1, offset + 1 - repeated)
            again = offset + 1 - first
            ring.extend(committed(first, [b""] * again + payloads))
            sizes = map(len, committed(1, payloads).payloads)
            model += [(offset + n, size, offset + n) for n, size in enumerate(sizes, 1)]
            offset += len(step)
        while len(model) > CAPACITY or (sum(size for _, size, _ in model) > 300 and len(model) > 1):
            model.pop(0)
        assert ring.bytes_held == sum(size for _, size, _ in model)
        assert ring.next_place - ring.first_place == len(model)
        assert ring.last_offset == offset
        taken = ring.take(ring.first_place, None, None, 10**9)
        ids = [int(line[4:]) for line in taken.blob.split(b"\n") if line.startswith(b"id: ")]
        assert ids == [place for _, _, place in model if place is not None]
        assert (taken.place, taken.offset) == (ring.next_place, offset)
        for since in range(8, offset + 2):
            place = ring.place_after(since)
            if place is None:
                assert model[0][0] > since + 1 or model[0][0] > since
            else:
                rest = ring.take(place, None, None, 10**9)
                ids = [int(li[4:]) for li in rest.blob.split(b"\n") if li.startswith(b"id: ")]
                assert ids == [p for _, _, p in model if p is not None and p > since]


def filled(count, data, **limits):
    ring = Ring(**{"events_max": count, "bytes_max": 2**30, "last_offset": 0, **limits})
    ring.extend(committed(1, [data] * count))
    return ring


def test_joined_blobs_are_bounded_however_many_filters_there_are():
    ring = filled(2000, b"1" * 1000, bytes_max=2_000_000)
    for number in range(40):
        query = StreamQuery(types=frozenset({"t", f"x{number}"}))
        place, blobs = ring.first_place, []
        while place < ring.next_place:
            found = ring.take(place, query, compile_filter(query), 262_144)
            # Who comes next for the same has the same object.
            assert ring.take(place, query, compile_filter(query), 262_144) is found
            place = found.place
            blobs.append(found.blob)
            assert ring.joined_bytes <= 2_000_000
        assert b"".join(blobs).count(b"id: ") == ring.next_place - ring.first_place


def test_filters_that_nothing_passes_are_bounded_too():
    ring = filled(2, b"1", bytes_max=10_000)
    for number in range(1000):
        query = StreamQuery(key=f"k{number}")
        ring.take(0, query, compile_filter(query), 262_144)
    assert len(ring._rounds) < 30


def test_one_take_does_a_bounded_part_of_the_work_whatever_passes():
    data = b'{"job_id":"1","rest":"%b"}' % (b"x" * 60_000)
    for query in (StreamQuery(job_id="2"), StreamQuery(tag="x"), StreamQuery(key="k")):
        ring = filled(100, data)
        place, takes = 0, 0
        while place < ring.next_place:
            before, place = place, ring.take(place, query, compile_filter(query), 262_144).place
            assert before < place <= before + WORK_MAX // len(data) + 1
            takes += 1
        assert takes > 5


def test_after_a_skip_every_place_from_before_is_lost_also_the_newest():
    ring = filled(10, b"1")
    live = ring.next_place
    ring.skip_to(15)
    assert (ring.last_offset, ring.bytes_held) == (15, 0)
    assert live < ring.first_place == ring.next_place
    assert [ring.place_after(offset) for offset in (9, 10, 14)] == [None] * 3
    assert ring.place_after(15) == ring.next_place
    ring.extend(committed(16, [b"1"] * 3))
    found = ring.take(ring.place_after(15), None, None, 2**20)
    assert (found.blob.count(b"id: "), found.offset) == (3, 18)
    assert ring.place_after(14) is None


def test_a_large_batch_is_made_in_turns_and_taken_whole():
    vectors = [VectorWritten("added", "c", str(n), bytes(range(256)) * 4, None) for n in range(300)]
    records = [EventPublished("t", b"1"), BatchCommitted(300), *vectors, EventPublished("t", b"2")]
    # A ring that is full: the slot before the first is that of the newest.
    ring = Ring(events_max=len(records), bytes_max=10**9, last_offset=10)
    payloads = [encode(record) for record in records]
    ring.extend(Committed(10, 11, 7, records, payloads))
    first = ring.take(ring.first_place, None, None, 10**9)
    assert (first.blob.count(b"event:"), first.place, first.offset) == (1, 1, 11)
    turns = 0
    while not (found := ring.take(1, None, None, 1)).blob:
        assert (found.place, found.offset) == (1, 11)
        turns += 1
    assert turns > 3
    assert (found.blob.count(b"event:"), found.place, found.offset) == (301, 302, 312)
    assert len(found.blob) > 4 * MADE_MAX
    # What is made is made for everybody.
    assert ring.take(1, StreamQuery(types=("vector_added",)), None, 1).blob == found.blob


def test_nothing_is_passed_over_by_who_waits_at_a_batch_that_begins_the_ring():
    records = [BatchCommitted(299), *[EventPublished("t", b'"%b"' % (b"x" * 999))] * 299]
    ring = Ring(events_max=300, bytes_max=10**9, last_offset=10)
    ring.extend(Committed(10, 11, 7, records, [encode(record) for record in records]))
    found = ring.take(0, None, None, 10**9)
    assert found == (b"", 0, 10)


KEYS = st.builds(KeyWritten, st.just("k"), st.sampled_from([b"1", b'{"job_id":"j"}']), st.just(1))
EVENTS = st.builds(
    EventPublished,
    type=st.sampled_from(["t", "u", "ünd", "t" * 64]),
    data=st.sampled_from([b"1", b'{"job_id":"j","a":[1,"\xc3\xa9"]}', b"[" + b"1," * 40 + b"1]"]),
    key=st.sampled_from([None, None, None, "k"]),
    tags=st.sampled_from([(), (), (), ("g",)]),
    op_id=st.sampled_from([None, None, "o"]),
)
QUERIES = (
    None,
    StreamQuery(types=frozenset({"t"})),
    StreamQuery(key="k"),
    StreamQuery(job_id="j"),
    StreamQuery(tag="g"),
    StreamQuery(private=False),
)


@given(st.data())
def test_events_framed_together_are_framed_as_each_alone_is(data):
    ring = Ring(events_max=64, bytes_max=2**30, last_offset=94)
    model = []
    for _ in range(data.draw(st.integers(1, 6))):
        records = data.draw(st.lists(EVENTS | EVENTS | KEYS, min_size=1, max_size=40))
        first, ts_ms = ring.last_offset + 1, data.draw(st.integers(0, 3))
        payloads = [encode(record) for record in records]
        ring.extend(Committed(first - 1, first, ts_ms, records, payloads))
        model += [event_of(first + n, ts_ms, record) for n, record in enumerate(records)]
        for query in data.draw(st.lists(st.sampled_from(QUERIES), max_size=4)):
            wanted = None if query is None else compile_filter(query)
            # From anywhere in the ring, in steps of any size.
            place = data.draw(st.integers(ring.first_place, ring.next_place))
            while place < ring.next_place:
                found = ring.take(place, query, wanted, data.draw(st.integers(1, 5000)))
                assert found.place > place
                events = model[place : found.place]
                passed = [each for each in events if wanted is None or wanted.passes(each)]
                assert found.blob == b"".join(each.frame() for each in passed)
                assert found.offset == events[-1].offset
                place = found.place


class _Counted(list):
    looks = 0

    def __getitem__(self, slot):
        self.looks += 1
        return super().__getitem__(slot)


def test_what_cannot_be_framed_together_is_looked_at_a_few_times():
    for records in (
        [KeyWritten(str(n), b"1", 1) for n in range(300)],
        [EventPublished("t", b"1", key="k")] * 300,
        [EventPublished("tu"[n % 2], b"1") for n in range(300)],
    ):
        ring = Ring(events_max=300, bytes_max=2**30, last_offset=0)
        ring.extend(Committed(0, 1, 7, records, [encode(record) for record in records]))
        ring._events = _Counted(ring._events)
        assert ring.take(0, None, None, 10**9).blob.count(b"id: ") == 300
        assert 300 <= ring._events.looks <= 8 * 300
