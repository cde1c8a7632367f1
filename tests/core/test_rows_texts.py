"""Texts of rows: kept beside the vectors from the first text on, and nothing before."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Add, Delete, Update, Upsert
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.records import decode, encode
from tests.core.row_world import World, raw

VECTOR = raw([1.0, 2.0])


def world(**fields):
    return World(CollectionSpec("c", 2, "dot", index="flat", **fields))


def texts(here):
    return {row.id: row.text for row in here.view().scroll(limit=1000)}


def test_rows_before_the_first_text_have_none():
    here = world()
    here.run(*(Add(f"v{n}", VECTOR) for n in range(100)))
    assert here.view().data.text_ends is None
    here.run(Add("first", VECTOR, text="naïve café"))
    here.run(Add("after", VECTOR), Add("second", VECTOR, text="x"))
    found = texts(here)
    assert found.pop("first") == "naïve café"
    assert found.pop("second") == "x"
    assert set(found.values()) == {None}
    assert here.view().statistics().row_bytes > len("naïve café".encode())


def test_an_update_keeps_the_text_unless_it_brings_one():
    here = world()
    here.run(Add("a", VECTOR, text="old"), Update("a", meta=b"{}"))
    assert here.view().get("a").text == "old"
    here.run(Update("a", text="new"))
    assert (here.view().get("a").text, here.view().get("a").meta) == ("new", b"{}")
    here.run(Update("a", text=""))
    assert here.view().get("a").text is None
    here.run(Update("a", text="again"), Upsert("a", VECTOR))
    assert here.view().get("a").text is None


def test_a_collection_says_how_its_texts_are_searched():
    text = TextSettings({"text": FieldSettings(2.0, "spanish")}, others=False, k1=1.2)
    spec = CollectionSpec("c", 2, "dot", embedder="default", embedder_model="m@1", text=text)
    record = decode(encode(spec.record("op")))
    assert CollectionSpec.of_record(record) == spec
    assert CollectionSpec.of_fields(json.loads(json.dumps(spec.to_fields()))) == spec
    assert spec.text_settings == text
    plain = CollectionSpec("c", 2, "dot").text_settings
    assert plain.field("text") is not None
    assert plain.field("title") is None
    assert CollectionSpec.of_documents("d").text_settings.field("title") is not None


COMMANDS = st.lists(
    st.one_of(
        st.builds(
            Upsert,
            st.sampled_from("abcde"),
            st.just(VECTOR),
            st.one_of(st.none(), st.just(b'{"n":1}')),
            text=st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))),
        ),
        st.builds(Delete, st.sampled_from("abcde")),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(COMMANDS)
def test_texts_are_those_of_the_log_before_and_after_a_vacuum(commands):
    here = world()
    for command in commands:
        here.run(command)
    wanted = {record.id: record.text for record in here.model.values()}
    assert texts(here) == wanted
    while (work := here.rows.vacuum()) is not None:
        work.run()
        here.rows.install(work)
    assert texts(here) == wanted
    here.run(Upsert("last", VECTOR, text="behind a vacuum"))
    assert texts(here) == {**wanted, "last": "behind a vacuum"}
