"""Many upserts as columns: they do what as many single ones do."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.index.kernels import Kernels
from kissvdb.core.quotas import NOTHING, Growth, KeyLimits, Ledger
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Add, Delete, Update, Upsert, VectorBatch
from kissvdb.core.store.columns import UpsertMany, WrittenMany
from kissvdb.core.store.memory import Room
from kissvdb.core.store.options import IndexOptions
from kissvdb.errors import KissError
from tests.core.row_world import SALT, raw

IDS = [*"abcdefgh", "ä"]
METAS = [None, b'{"n":1}', b'{"n":2.5,"tags":["x","y"]}', b"[1]"]
# Of length one, of another, and of none.
VECTORS = [[1.0, 0.0, 0.0], [-0.0, 0.0, 1.0], [3.0, 4.0, 1.5], [0.0, 0.0, 0.0]]

ids = st.sampled_from(IDS)
vectors = st.sampled_from(VECTORS)
ttls = st.sampled_from([None, None, 1, 2, 10])
singles = (
    st.builds(lambda i, v, t: Upsert(i, raw(v), b"{}", t, text="word"), ids, vectors, ttls)
    | st.builds(lambda i, v, t: Add(i, raw(v), None, t), ids, vectors, ttls)
    | st.builds(Delete, ids)
    | st.builds(lambda i: Update(i, meta=b'{"n":9}'), ids)
)
rows = st.lists(st.tuples(ids, vectors, st.sampled_from(METAS)), min_size=1, max_size=20)
columns = st.tuples(rows, st.booleans())
batches = st.lists(st.lists(singles | columns, min_size=1, max_size=3), min_size=1, max_size=4)
specs = st.builds(
    lambda metric, ttl, store: CollectionSpec(
        "c",
        3,
        metric,
        ttl_ms=ttl,
        options=IndexOptions(store=store if metric == "cosine" else "f32"),
    ),
    st.sampled_from(["cosine", "l2", "dot"]),
    st.sampled_from([None, None, 2]),
    st.sampled_from(["f32", "f16"]),
)


class Side:
    """A collection that is written to."""

    def __init__(self, spec, rows_max, room):
        self.rows = Rows(spec, SALT, Kernels())
        self.rows_max, self.room = rows_max, room
        self.log = []
        self.quick = 0

    def write(self, messages, now_ms):
        """What is answered: an offset, or the kind of refusal, of each."""
        batch = VectorBatch(self.rows.spec, self.rows, now_ms)
        if self.rows_max is not None:
            ledger = Ledger(KeyLimits(rows_max=self.rows_max), None, lambda grants: NOTHING)
            ledger.ready = True
            batch.growth = Growth((ledger,))
        if self.room is not None:
            batch.room = Room("c", 0, self.room, 1, "")
        outcomes = []
        for message in messages:
            try:
                outcome = batch.decide(message)
            except KissError as refusal:
                outcome = refusal
            outcomes += outcome if isinstance(outcome, list) else [outcome]
        first = len(self.log) + 1
        self.log += batch.records
        if batch.is_columns:
            self.quick += 1
            self.rows.make_ready(batch.columns)
            self.rows.apply_columns(first, batch.columns)
        else:
            self.rows.reserve(batch.rows, batch.blob_bytes, batch.text_bytes, batch.vectors)
            self.rows.apply_all(list(enumerate(batch.records, first)))
        answers = []
        for outcome in outcomes:
            answer = outcome if isinstance(outcome, KissError) else outcome.at(first)
            if isinstance(answer, WrittenMany):
                answers += answer.offsets
            else:
                answers.append(type(answer) if isinstance(answer, KissError) else answer.offset)
        return answers

    def held(self, now_ms):
        """All that readers and a checkpoint can see."""
        view = self.rows.view(now_ms)
        data = view.data
        found = [data.stored(row) for row in range(data.count)]
        prepared = data.prepared(slice(0, data.count)).tobytes()
        live = {id_: view.row_of(id_) for id_ in IDS}
        fields = {path: view.metadata.fields() for path in ("n", "tags")}
        known = [self.rows.operation("x"), self.rows.expired(now_ms, 99), self.rows.applied_offset]
        texts = None if view.texts is None else view.texts.row_count
        return found, prepared, live, fields, known, texts, view.statistics()


def many(rows, absent):
    ids, vectors, metas = zip(*rows, strict=True)
    documents = [None if meta is None else msgspec.json.decode(meta) for meta in metas]
    return UpsertMany(ids, np.array(vectors, np.float32), metas, documents, absent)


def each(rows, absent):
    return [(Add if absent else Upsert)(id_, raw(vector), meta) for id_, vector, meta in rows]


@settings(max_examples=25)
@given(specs, batches, st.sampled_from([None, None, 3, 8]), st.sampled_from([None, None, 9]))
def test_columns_do_what_single_upserts_do(spec, batches, rows_max, room):
    at_once, one_by_one = Side(spec, rows_max, room), Side(spec, rows_max, room)
    for now_ms, batch in enumerate(batches, 1000):
        messages = [many(*part) if isinstance(part, tuple) else part for part in batch]
        singly = [
            command
            for part in batch
            for command in (each(*part) if isinstance(part, tuple) else [part])
        ]
        assert at_once.write(messages, now_ms) == one_by_one.write(singly, now_ms)
        assert at_once.log == one_by_one.log
        held, expected = at_once.held(now_ms), one_by_one.held(now_ms)
        assert [*held[:-1], str(held[-1])] == [*expected[:-1], str(expected[-1])]


def test_what_is_plain_goes_the_short_way():
    side = Side(CollectionSpec("c", 3, "cosine"), None, None)
    rows = [(f"id{n}", VECTORS[n % 4], METAS[n % 4]) for n in range(50)]
    assert side.write([many(rows, True), many([("other", VECTORS[0], None)], False)], 1) == list(
        range(1, 52)
    )
    assert side.write([many(rows, False)], 2) == list(range(52, 102))
    assert side.quick == 2
    # Some are there: each is told for itself.
    assert len(set(map(str, side.write([many(rows[:2], True)], 3)))) == 1
    assert side.quick == 2
