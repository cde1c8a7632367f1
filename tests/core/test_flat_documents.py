"""Many documents taken apart by compiled code: the rows are as those of documents one by one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.index.kernels import Kernels
from kissvdb.core.metadata import comparison as metadata_comparison
from kissvdb.core.metadata import compiled as documents
from kissvdb.core.postings import compiled as texts
from kissvdb.core.postings.comparison import differences
from kissvdb.core.rows import changes
from kissvdb.core.rows.changes import DocumentWritten
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.text.settings import FieldSettings, TextSettings
from tests.core.row_world import SALT

SETTINGS = TextSettings(
    {"k": FieldSettings(tokenizer="keyword"), "n": FieldSettings(tokenizer="ngram")}
)

words = st.text(st.sampled_from('aAbé中 \n"\\/\x7f\U0001f600\x00'), max_size=70)
numbers = st.integers(-3, 3) | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, width=16)
plain = st.none() | st.booleans() | words | words.map(lambda text: text * 9) | numbers
values = plain | st.lists(plain, max_size=3)
fields = st.sampled_from(["a", "b", "k", "n", "x.y", "", "longer", "é", "p" * 300])
flat = st.dictionaries(st.sampled_from(["a", "b", "k", "x.y", ""]), values, max_size=4)
others = st.dictionaries(fields, values | st.dictionaries(fields, plain), max_size=3)


def rows_of(texts_, kernels, *, step=None, spec=None):
    rows = Rows(spec or CollectionSpec.of_documents("d", 0, SETTINGS), SALT, kernels)
    step = step or len(texts_)
    for start in range(0, len(texts_), step):
        part = enumerate(texts_[start : start + step], start + 1)
        rows.apply_all([(at, DocumentWritten(str(at), text, 1, at)) for at, text in part])
    return rows


def loaded(*, apart):
    """Only the compiled code that is needed here: it is loaded when it is called."""
    kernels = Kernels()
    kernels.text = texts
    kernels.documents = documents if apart else None
    return kernels


def assert_same(one, other):
    one, other = one.view(0), other.view(0)
    mine, its = one.metadata.to_arrays(), other.metadata.to_arrays()
    assert mine.keys() == its.keys()
    for name, array in mine.items():
        assert array.dtype == its[name].dtype, name
        assert np.array_equal(array, its[name]), name
    assert (one.texts is None) == (other.texts is None)
    if one.texts is not None:
        assert one.texts.paths == other.texts.paths
        assert differences(one.texts.to_arrays(), other.texts.to_arrays()) == []


@pytest.fixture(scope="module", autouse=True)
def few_are_many():
    """So that a handful of documents is taken apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "DOCUMENTS_MIN", 1)
        patch.setattr(changes, "DOCUMENTS_MIN", 1)
        yield


DOCUMENTS = st.lists(flat, min_size=1, max_size=6) | st.lists(flat | others, min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(DOCUMENTS, st.booleans())
def test_rows_are_those_of_documents_one_by_one(found, ascii_):
    assert_same_rows(found, ascii_)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(DOCUMENTS, st.booleans())
def test_rows_are_those_of_documents_one_by_one_of_many_kinds(found, ascii_):
    assert_same_rows(found, ascii_)


def assert_same_rows(found, ascii_):
    lines = [json.dumps(d, ensure_ascii=ascii_, separators=(",", ":")).encode() for d in found]
    assert_same(rows_of(lines, loaded(apart=True)), rows_of(lines, loaded(apart=False)))


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{}", b"[]", b"7", b"null", b'"a"', b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":"'),
        *(b'{"a":1}}', b'{"a":1,}', b'{"a":tru}', b'{"a":"\\ud800"}', b'{"a":"\\u12"}'),
        *(b'{"a":1e999}', b'{"a":-0}', b'{"a":01}', b'{"a":1.5e3,"b":[1,"x",null,true]}'),
        *(b'{"a":[[1]]}', b'{"a":[{}]}', b'{"a":{"b":1}}', b'{"a":1,"a":2}'),
        *(b'{ "a":1}', b'{"a" :1}', b'{"a":[1,]}', b'{"a":[1', b'{"a":"\\ud83d\\ude00 x"}'),
        *(b'{"a":999999999999999,"b":1000000000000000}', b'{"a":-}', b'{"a\\n":1}'),
    ],
)
def test_what_is_odd_is_left_to_the_general_way(text):
    lines = [b'{"a":"one","b":2}', text, b'{"b":"two"}']
    assert_same(rows_of(lines, loaded(apart=True)), rows_of(lines, loaded(apart=False)))


def test_what_is_taken_apart_and_what_is_not():
    line = b'{"a":"one","b":[1,"x"],"c":null,"d":-12,"e":1.5}'
    assert documents.taken_apart([line, b"", b"{}"]) is not None
    assert documents.taken_apart([line, b'{"a":{}}']) is None
    assert documents.taken_apart([line, b'{"a":"\xff"}']) is None
    many = [b'{"f%d":1}' % n for n in range(257)]
    assert documents.taken_apart(many[1:]) is not None
    assert documents.taken_apart(many) is None


def test_of_some_fields_only_the_texts_are_searched():
    spec = CollectionSpec.of_documents("d", 0, TextSettings({"a": FieldSettings()}, others=False))
    lines = [b'{"b":"no","a":"Yes","c":"no"}', b'{"c":"no"}', b'{"a":"\xc3\xa9t\xc3\xa9","b":"n"}']
    one = rows_of(lines, loaded(apart=True), spec=spec)
    assert_same(one, rows_of(lines, loaded(apart=False), spec=spec))
    nothing = rows_of(lines[1:2], loaded(apart=True), spec=spec)
    assert nothing.view(0).texts is None
    rows = [(at, DocumentWritten(str(at), text, 1, at)) for at, text in enumerate(lines, 2)]
    nothing.apply_all(rows)
    assert nothing.view(0).texts.row_count == 4


def test_portions_follow_rows_that_wait_in_the_tail():
    lines = [b'{"a":"w%d","b":%d,"t":["x","y%d"]}' % (n % 7, n, n % 3) for n in range(40)]
    rows = rows_of(lines[:30], loaded(apart=True), step=10)
    apart, rows._kernels.documents = rows._kernels.documents, None
    rows.apply_all([(31, DocumentWritten("31", lines[30], 1, 31))])
    rows._kernels.documents = apart
    new = range(31, 40)
    rows.apply_all([(n + 1, DocumentWritten(str(n + 1), lines[n], 1, n + 1)) for n in new])
    view = rows.view(0)
    assert list(metadata_comparison.differences(view.metadata, view.data.document)) == []
    anew = rows_of(lines, loaded(apart=False)).view(0)
    for query in ("w3", "y1", "x"):
        assert found(view, query) == found(anew, query)


def found(view, query):
    from tests.core.text_world import query as parsed

    hits = view.texts.search(parsed(query), 50)
    return hits.rows.tolist(), hits.scores.tolist()
