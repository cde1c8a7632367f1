"""Texts of vectors in a program of one's own."""

import attrs
import msgspec
import pytest

import kissvdb
from kissvdb.config import Config, Search, Storage
from kissvdb.errors import EmbedderUnavailable, InvalidArgument, NotFound, OpIdReused
from tests.api.embedding_service import DIM, service


async def test_texts_go_in_and_come_out_without_a_server():
    with service() as words:
        config = Config(storage=Storage(memory=True), embedder=words.settings())
        config = attrs.evolve(config, search=Search(compile=False))
        async with kissvdb.open_database(config) as db:
            await db.vectors.create("notes", embedder="default", text={"language": "english"})
            with pytest.raises(NotFound):
                await db.vectors.create("others", embedder="none-such")
            with pytest.raises(InvalidArgument):
                await db.vectors.create("others", dim=2, text={"tongue": "english"})
            await db.vectors.upsert("notes", "a", text="red boats on a lake", meta={"n": 1})
            await db.vectors.upsert("notes", "b", text="green hills")
            await db.vectors.upsert("notes", "c", [1.0] * DIM, text="a vector of its own")
            found = db.vectors.get("notes", "a")
            assert found.text == "red boats on a lake"
            assert len(found.vector) == DIM
            (hit,) = await db.vectors.search_text("notes", "boat", mode="text")
            assert (hit.id, hit.text, hit.meta) == ("a", "red boats on a lake", {"n": 1})
            hits = await db.vectors.search_text("notes", "green hills", 3)
            assert (hits[0].id, len(hits)) == ("b", 3)
            by_vector = await db.vectors.search_text("notes", "green hills", 1, mode="vector")
            assert by_vector[0].id == "b"
            await db.vectors.update("notes", "b", text="grey sea")
            assert await db.vectors.search_text("notes", "hills", mode="text") == []
            words.broken = True
            with pytest.raises(EmbedderUnavailable):
                await db.vectors.upsert("notes", "d", text="never heard of")
            with pytest.raises(InvalidArgument):
                await db.vectors.upsert("notes", "d")


async def test_a_batch_that_is_done_needs_no_embedder_to_be_answered_again():
    with service() as words:
        config = Config(storage=Storage(memory=True), embedder=words.settings())
        config = attrs.evolve(config, search=Search(compile=False))
        async with kissvdb.open_database(config) as db:
            await db.vectors.create("notes", embedder="default", text={})
            notes = [
                {"op": "upsert", "collection": "notes", "id": "a", "text": "red boats"},
                {"op": "update", "collection": "notes", "id": "a", "text": "green hills"},
                {"op": "put", "key": "k", "value": 1},
            ]
            first = await db.batch(notes, op_id="n")
            asked = len(words.texts)
            words.broken = True
            again = await db.batch(notes, op_id="n")
            assert again == msgspec.structs.replace(first, repeated=True)
            assert len(words.texts) == asked
            with pytest.raises(OpIdReused):
                await db.batch([{**notes[0], "text": "other words"}, *notes[1:]], op_id="n")
