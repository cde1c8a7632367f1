"""Documents that are columns from the line to the rows: what comes of them is as of single puts."""

import itertools
import json
import random

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.api.access.commands import check_each
from kissvdb.api.bulk import cutting, documents, handlers
from kissvdb.api.bulk.cutting import Lines
from kissvdb.api.bulk.operations import read_lines
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.principal import Principal, Scope
from kissvdb.config import Config, Limits, Search, State, Storage
from kissvdb.core.filters import parse as filters
from kissvdb.core.grants import Grants
from kissvdb.core.state.put_many import DocumentNames, PutMany
from kissvdb.core.state.rules import Delete, Put, StateBatch
from kissvdb.engine.documents.pending import DocumentTap
from kissvdb.engine.opening import open_database
from kissvdb.engine.state.view import StateView
from kissvdb.errors import Damaged, Forbidden, Refused, Unauthorized
from kissvdb.lane.errors import MalformedRequest
from kissvdb.metrics import Metrics

LIMITS = Limits(id_bytes_max=5, key_bytes_max=11, json_bytes_max=40, document_depth_max=3)
CONTEXT = Context(None, Config(limits=LIMITS), Metrics())
IN_MEMORY = Config(storage=Storage(memory=True), search=Search(compile=False))
PUT = b'{"op":"doc_put","collection":"c","id":'

ids = st.text(st.sampled_from("ab/:\n"), min_size=1, max_size=5)
odd_ids = ids | st.sampled_from(["", "é", "toolong", "\0"])
values = st.recursive(
    st.none() | st.floats(allow_nan=False) | st.text(st.sampled_from('a"\\é '), max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ids, inner, max_size=2),
    max_leaves=4,
)
spaced = st.sampled_from([(",", ":"), (", ", ": ")])
texts = st.builds(lambda value, by: json.dumps(value, separators=by).encode(), values, spaced)
plain = st.builds(
    lambda id_, text: PUT + json.dumps(id_).encode() + b',"doc":%b}' % text, ids, texts
)
others = st.builds(
    lambda id_, text, rest: PUT + json.dumps(id_).encode() + b',"doc":%b%b' % (text, rest),
    odd_ids,
    texts | st.sampled_from([b"1e999", b"[1", b'"\xff"']),
    st.sampled_from([b"}", b',"ttl_ms":5}', b',"if_revision":0}', b',"op_id":"o"}', b',"x":1}']),
)
elsewhere = plain.map(lambda line: line.replace(b'"c"', b'"d:"'))


@pytest.mark.parametrize("inline_bytes_max", [0, 10**6], ids=["numpy", "each"])
def test_lines_ask_for_what_they_ask_for_one_by_one(inline_bytes_max, monkeypatch):
    monkeypatch.setattr(documents, "INLINE_BYTES_MAX", inline_bytes_max)

    @settings(max_examples=30)
    @given(st.lists(plain, min_size=1) | st.lists(plain | others | elsewhere, min_size=1))
    def check(lines):
        found = documents.read(lines, LIMITS)
        expected = read_lines(CONTEXT, lines)
        if found is None:
            asked = [each for each in expected if type(each) is Put and each.key.isascii()]
            assert len(asked) < len(lines) or [Put(each.key, each.value) for each in asked] != asked
            return
        assert list(map(Put, found.keys, found.values)) == expected
        names = found.documents
        assert [f"doc:{names.collection}:{id_}" for id_ in names.ids] == found.keys

    check()


@pytest.mark.parametrize(("granted", "count"), [("c", 2), ("*", 2), ("d", 0)])
def test_a_key_puts_columns_into_collections_of_its_own_only(granted, count):
    cutter = Lines(CONTEXT, Grants(documents=(granted,)))
    cutter.feed(b"".join(PUT + b'"%b","doc":1}\n' % id_ for id_ in (b"a", b"b")))
    found = cutter.take_documents()
    assert (0 if found is None else len(found.keys)) == count
    refused = check_each(cutter.grants, cutter.take())
    assert len(refused) + count == 2
    assert all(isinstance(each, Forbidden) for each in refused)


steps = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4)
    | st.builds(Put, st.sampled_from(["doc:c:a", "doc:d:a", "k"]), st.just(b"2"))
    | st.builds(Delete, st.sampled_from(["doc:c:a", "k"]))
    | st.just(PutMany(["k", "l"], [b"1", b"2"])),
    max_size=6,
)


@settings(max_examples=30)
@given(steps, st.integers(1, 3))
def test_rows_are_told_of_columns_as_of_single_records(steps, per_batch):
    taps = [DocumentTap(lambda: 7, 9) for _ in range(2)]
    for start in range(0, len(steps), per_batch):
        made = StateBatch({}.get, {}.get, 0)
        for step in steps[start : start + per_batch]:
            if isinstance(step, list):
                keys = [f"doc:c:{id_}" for id_ in step]
                step = PutMany(
                    keys, [b"%d" % n for n in range(len(keys))], DocumentNames("c", step)
                )
            made.decide(step)
        taps[0].installed(50 * start, made.records, made.runs)
        taps[1].installed(50 * start, made.records)
    told = [
        {name: each.take(99) for name, each in tap.collections.items() if each.count}
        for tap in taps
    ]
    assert {name: (each.first_offset, each.changes) for name, each in told[0].items()} == {
        name: (each.first_offset, each.changes) for name, each in told[1].items()
    }


@pytest.mark.parametrize("shards", [1, 2])
async def test_documents_of_columns_are_found_recovered_and_followed(tmp_path, shards):
    config = attrs.evolve(
        IN_MEMORY, storage=Storage(data_dir=str(tmp_path)), state=State(shards=shards)
    )
    ids = [*"abc", "a"]
    keys = [f"doc:c:{id_}" for id_ in ids]
    values = [b'{"n":%d}' % n for n in range(len(ids))]

    async def found(db):
        view = await db.documents.view("c")
        rows = view.scroll(limit=9, tree=filters.parse({"n": {"$gte": 1}}))
        return {row.id: json.loads(row.meta)["n"] for row in rows}

    async with open_database(config) as db:
        await db.write(Put("doc:c:b", b'{"n":9}', ttl_ms=10**6))
        reply = db.put_many(keys, values, DocumentNames("c", ids))
        if shards > 1:
            assert reply is None
            await db.write_many(list(map(Put, keys, values)))
        else:
            written = await reply.wait()
            # What b was ends in the log, or is replaced: as of single puts.
            assert list(written.revisions) == [1, 2, 1, 2]
            assert db.get("doc:c:b").offset == written.offsets[1]
        assert await found(db) == {"a": 3, "b": 1, "c": 2}
        assert db.get("doc:c:b").expires_at_ms is None
    async with open_database(config) as db:
        assert await found(db) == {"a": 3, "b": 1, "c": 2}


async def test_columns_of_a_collection_too_many_are_refused_whole():
    config = attrs.evolve(IN_MEMORY, limits=Limits(collections_max=1))
    async with open_database(config) as db:
        await db.put("doc:a:1", 1)
        last = db.last_offset
        with pytest.raises(Refused, match="collections_max"):
            await db.put_many(["doc:b:1"], [b"1"], DocumentNames("b", ["1"])).wait()
        assert db.last_offset == last


class Arriving:
    """A body of which some pieces are at hand when the one before is done. None: it breaks."""

    def __init__(self, pieces):
        self._pieces = list(pieces)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        if not self._pieces:
            raise StopAsyncIteration
        return self._next()

    def at_hand(self):
        return self._next() if self._pieces and self._pieces[0] != b"" else b""

    def _next(self):
        piece = self._pieces.pop(0)
        if piece is None:
            raise MalformedRequest("broken")
        return piece


async def answers_to(db, request):
    answer = await handlers.bulk(Context(db, IN_MEMORY, Metrics()), request)
    blobs = [answer.body] if request.stream is None else [blob async for blob in answer.body]
    return [json.loads(line) for line in b"".join(blobs).splitlines()]


PUTS = [PUT + b'"%b","doc":{"n":%d}}' % (id_, n) for n, id_ in enumerate([b"a", b"b", b"a", b"c"])]
OTHERS = [
    PUT + b'"a","doc":{"n":1},"if_revision":9}',
    PUT + b'"","doc":1}',
    PUT + b'"b","doc":{ "n": 2}}',
    b'{"op":"doc_patch","collection":"c","id":"a","patch":{"m":1}}',
    b'{"op":"doc_delete","collection":"c","id":"b"}',
    b'{"op":"put","key":"k","value":1}',
]


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_begun_before_the_last_is_done_is_answered_in_order(seed):
    chance = random.Random(seed)
    asked = [chance.choice(PUTS if chance.random() < 0.8 else OTHERS) for _ in range(30)]
    body = b"".join(line + b"\n" for line in asked)
    cuts = sorted(chance.sample(range(len(body)), 12))
    pieces = [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)])]
    # What does not stand behind one of these is at hand.
    for place in sorted(chance.sample(range(len(pieces)), 3), reverse=True):
        pieces.insert(place, b"")
    breaks = seed % 3 == 0
    found, stored = [], []
    for request in (
        Request("POST", "/v1/bulk", stream=Arriving([*pieces, None] if breaks else pieces)),
        Request("POST", "/v1/bulk", body=body.replace(b'{"op"', b'{ "op"')),
    ):
        async with open_database(IN_MEMORY) as db:
            found.append(await answers_to(db, request))
            page = await db.list("", limit=99)
            stored.append([(item.key, item.value, item.offset) for item in page.items])
    if breaks:
        assert found[0].pop()["error"]["message"] == "broken"
    assert found[0] == found[1]
    assert stored[0] == stored[1]


async def test_what_is_at_hand_is_not_taken_once_the_key_is_gone(monkeypatch):
    checked = []

    def check(key_id, secret):
        checked.append(key_id)
        if len(checked) > 2:
            raise Unauthorized("revoked")

    lines = [PUT + b'"%d","doc":1}\n' % n for n in range(4)]
    who = Principal("k", Scope.WRITE, key_id="k1", grants=Grants(documents=("c",)))
    async with open_database(IN_MEMORY) as db:
        monkeypatch.setattr(db.keys, "check", check)
        request = Request("POST", "/v1/bulk", stream=Arriving(lines), principal=who)
        said = await answers_to(db, request)
        assert [each["status"] for each in said] == ["ok", "ok", "error"]
        assert "revoked" in said[2]["error"]["message"]
        assert len((await db.list("doc:", limit=9)).items) == 2


async def test_a_refusal_is_said_even_if_the_body_breaks_off_behind_it(monkeypatch):
    config = attrs.evolve(IN_MEMORY, limits=Limits(body_bytes_max=1024))
    monkeypatch.setitem(globals(), "IN_MEMORY", config)
    monkeypatch.setattr(cutting, "OPERATIONS_PER_WRITE_MAX", 1)
    pieces = [PUTS[0] + b"\n" + b"x" * 1025 + b"\n", None]
    async with open_database(config) as db:
        said = await answers_to(db, Request("POST", "/v1/bulk", stream=Arriving(pieces)))
    assert [each.get("line") for each in said] == [None, 2, 3]


@pytest.mark.parametrize("count", [3, 300])
@pytest.mark.parametrize("kind", ["documents", "keys", "one by one"])
async def test_a_damaged_key_is_an_error_of_its_own_and_ends_no_load(kind, count, monkeypatch):
    lines = [PUT + b'"%d","doc":1}' % n for n in range(count)]
    name = "doc:c:1"
    if kind == "keys":
        lines, name = [b'{"op":"put","key":"%d","value":1}' % n for n in range(count)], "1"
    elif kind == "one by one":
        lines = [line.replace(b'{"op"', b'{ "op"') for line in lines]
    get, absent = StateView.get, StateView.absent

    def checked(view, keys):
        if name in keys:
            raise Damaged("a table is damaged")
        return keys

    monkeypatch.setattr(StateView, "get", lambda view, key: checked(view, [key]) and get(view, key))
    monkeypatch.setattr(StateView, "absent", lambda view, keys: absent(view, checked(view, keys)))
    async with open_database(IN_MEMORY) as db:
        said = await answers_to(db, Request("POST", "/v1/bulk", body=b"\n".join(lines)))
        assert len(said) == count
        assert said[1]["error"]["error"] == "damaged"
        wrong = [each for each in said if each["status"] == "error"]
        assert len(wrong) == 1
        assert db.last_offset == count - 1


async def test_columns_with_a_damaged_key_are_refused_whole_when_others_follow(monkeypatch):
    absent = StateView.absent

    def checked(view, keys):
        if "doc:c:a" in keys:
            raise Damaged("a table is damaged")
        return absent(view, keys)

    monkeypatch.setattr(StateView, "absent", checked)
    pieces = [b"\n".join(PUTS[:2]) + b"\n", PUTS[3] + b"\n"]
    async with open_database(IN_MEMORY) as db:
        said = await answers_to(db, Request("POST", "/v1/bulk", stream=Arriving(pieces)))
        assert [each["status"] for each in said] == ["error", "error", "ok"]
        assert db.last_offset == 1
