"""Vectors that compiled code reads from JSON, and hits that it writes: as the plain way does."""

import json
import math
import string

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kissvdb.core.numbers import compiled
from kissvdb.core.store.row_store import RowStore
from kissvdb.core.store.space import HeapSpace, Row
from kissvdb.core.store.spec import NUMBER_MAX, CollectionSpec
from kissvdb.core.vector_json import json_numbers
from kissvdb.kernels.json import warming


@pytest.fixture(autouse=True, scope="module")
def _compiled():
    warming.run()


SPACE = st.text(" \n\t\r", max_size=2)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
DIGITS = st.text(string.digits, min_size=1, max_size=40)


@st.composite
def any_numbers(draw):
    """Whatever JSON's grammar has, and things that it only just has not."""
    whole = draw(st.one_of(st.just("0"), DIGITS.map(lambda text: text.lstrip("0") or "0"), DIGITS))
    point = draw(st.one_of(st.just(""), DIGITS.map(".".__add__), st.just(".")))
    exponent = draw(
        st.one_of(
            st.just(""),
            st.tuples(
                st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 60)
            ).map(lambda parts: "".join(map(str, parts))),
            st.sampled_from(["e", "E-", "e1.5"]),
        )
    )
    return draw(st.sampled_from(["", "-", "--", "+"])) + whole + point + exponent


NUMBERS = st.one_of(
    any_numbers(),
    FLOATS.map(repr),
    SINGLES.map(repr),
    st.tuples(FLOATS, st.integers(0, 25)).map(lambda each: f"{each[0]:.{each[1]}e}"),
    # Halfway between two float32, and a little to either side.
    st.tuples(st.integers(2**23, 2**24 - 1), st.integers(-40, 20), st.integers(-2, 2)).map(
        lambda each: f"{math.ldexp(2 * each[0] + 1 + each[2] * 2.0**-28, each[1] - 24):.25e}"
    ),
    # The same without an exponent: many zeros in front.
    st.tuples(st.integers(2**23, 2**24 - 1), st.integers(0, 20), st.integers(-2, 2)).map(
        lambda each: f"{math.ldexp(2 * each[0] + 1 + each[2] * 2.0**-28, -each[1] - 24):.40f}"
    ),
)


def read_plainly(text):
    """Bits of float32, or None for what is no vector."""
    try:
        doubles = msgspec.json.decode(text, type=list[float])
    except (msgspec.DecodeError, ValueError):
        return None
    with np.errstate(over="ignore"):
        return np.array(doubles).astype(np.float32)


@given(st.lists(st.tuples(SPACE, NUMBERS, SPACE), min_size=1, max_size=6))
@example([("", "-0", "")])
@example([("", "0.1", ""), (" ", "16777217", "")])
@example([("", "1.401298464324817e-45", "")])
@example([("", "0.00000827146732262918", "")])
@example([("", "0.00005637930189550389", "")])
def test_a_vector_is_what_float_and_then_float32_make_of_it_or_is_left_alone(numbers):
    text = "[" + ",".join("".join(each) for each in numbers) + "]"
    plainly = read_plainly(text)
    cut = compiled.cut(b'{"k" : 1, "vector" :' + text.encode() + b"}", len(numbers), 1)
    if plainly is None or not (np.abs(plainly) <= NUMBER_MAX).all():
        assert cut is None
    elif cut is not None:
        assert cut.vectors.tobytes() == plainly.tobytes()
        rest = json.loads(cut.text)
        assert (rest.pop("k"), compiled.are_marks([rest.pop("vector")]), rest) == (1, True, {})


SOUND = st.floats(-1000, 1000).filter(lambda each: not 0 < abs(each) < 1e-24)


@given(
    st.lists(
        st.one_of(
            SOUND.map(repr),
            SOUND.map(np.float32).map(float).map(repr),
            SOUND.map(lambda each: f"{each:.9f}"),
            SOUND.map(lambda each: f"{each:.20e}"),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_clients_send_is_hardly_ever_left_alone(numbers):
    text = ('{"vector": [' + ", ".join(numbers) + "]}").encode()
    assert compiled.cut(text, len(numbers), 1) is not None


def test_only_the_arrays_that_are_counted_are_cut_and_marks_tell_which():
    items = [{"id": n, "vector": [n, 0.5], "meta": {"a": '\\"vector\\":[1]'}} for n in range(3)]
    text = json.dumps({"items": items}).encode()
    cut = compiled.cut(text, 2, 3)
    left = json.loads(cut.text)["items"]
    assert cut.vectors.tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert compiled.are_marks([each.pop("vector") for each in left])
    assert left == [{"id": each["id"], "meta": each["meta"]} for each in items]
    assert compiled.cut(text, 2, 2) is None
    assert compiled.cut(text, 3, 3) is None
    assert compiled.cut(b'{"vector":[]}', 2, 3) is None
    inside = compiled.cut(b'{"vector":7,"meta":{"vector":[1,2]}}', 2, 3)
    assert not compiled.are_marks([json.loads(inside.text)["vector"]])


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
METAS = st.one_of(st.none(), st.just(b'{"a":[1,{"b":"\\u00e9"}]}'))
SCORES = st.one_of(SINGLES, st.floats(-1, 1, width=32), st.floats(0.125, 900_000, width=32)).map(
    lambda score: score + 0.0
)


@given(st.lists(st.tuples(IDS, METAS, SCORES), max_size=6), st.booleans(), st.integers(1, 6))
@example([("a", b"{}", 2.0**-10), ("b", None, 0.0), ("c", None, -(2.0**-12))], True, 3)
def test_hits_are_written_as_the_plain_way_does_or_left_alone(rows, meta, want):
    store = RowStore(CollectionSpec("c", 1, "dot"), HeapSpace())
    store.extend([Row(id_, b"\0" * 4, each) for id_, each, _ in rows])
    order = sorted(range(len(rows)), key=lambda row: -rows[row][2])
    scores = np.array([rows[row][2] for row in order] + [-np.inf], np.float32)
    places = np.array([*order, -1])
    found = compiled.hits_text(store.view(), places, scores, want, meta=meta)
    best = order[:want]
    ties = len({rows[row][2] for row in order[: want + 1]}) < len(order[: want + 1])
    plain = all(
        abs(rows[row][2]) == 0 or 1e-4 <= np.float64(np.abs(np.float32(rows[row][2]))) < 1e6
        for row in best
    ) and not any(
        json.dumps(rows[row][0], ensure_ascii=False)[1:-1] != rows[row][0] for row in best
    )
    assert (found is not None) == (plain and not ties)
    if found is not None:
        hits = [
            b'{"id":%b,"score":%b,"meta":%b}'
            % (
                msgspec.json.encode(rows[row][0]),
                json_numbers(np.array([rows[row][2]], np.float32))[1:-1],
                (rows[row][1] if meta else None) or b"null",
            )
            for row in best
        ]
        assert found == (b"[%b]" % b",".join(hits), len(best))
