"""Texts and documents in files: stored, opened again, damaged, and absent in older directories."""

import json
import zlib

import pytest

from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.search import Search
from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.errors import Damaged
from kissvdb.storage.rows.arrays import HEADER_BYTES, RowArrays
from kissvdb.storage.rows.files import MANIFEST
from tests.core.row_world import PLAIN, SALT, World, clusters, raw
from tests.storage.row_directory import DIM, file_of, fill, flip, reopen, save, stored_world


def write_texts(here, first, count):
    vectors = clusters(9, count, DIM)
    numbers = range(first, first + count)
    here.run(
        *(
            Upsert(f"t{n}", raw(vector), text=f"text of {n}")
            for n, vector in zip(numbers, vectors, strict=True)
        )
    )


def check_texts(here):
    for record in here.model.values():
        assert here.view().get(record.id).text == record.text


def manifest_of(directory):
    return json.loads((directory / MANIFEST).read_text())["manifest"]


def write_manifest(directory, body):
    crc32 = zlib.crc32(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    (directory / MANIFEST).write_text(json.dumps({"manifest": body, "crc32": crc32}))


def test_a_directory_without_texts_is_as_it_was_before_there_were_any(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 40)
    save(here, tmp_path)
    names = {path.name.split(".")[0] for path in tmp_path.iterdir()}
    assert names == {
        "manifest", "vectors", "sent", "sent_flags", "ends", "expires", "blob", "rows", "ids",
        "metadata",
    }  # fmt: skip
    body = manifest_of(tmp_path)
    content = body["content"]
    assert content["format"] == 3
    assert set(content["spec"]) == {
        "name", "dim", "metric", "index", "m", "ef_construction", "quantization", "ttl_ms",
        "created_at_ms",
    }  # fmt: skip
    # An older version wrote no word of texts.
    assert content.pop("texts") is False
    write_manifest(tmp_path, body)
    again, warnings = reopen(here, tmp_path)
    assert (warnings, again.view().live_count) == ([], 40)


def test_the_first_texts_come_to_a_collection_that_was_opened(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 40)
    save(here, tmp_path)
    here, _ = reopen(here, tmp_path)
    write_texts(here, 0, 20)
    save(here, tmp_path)
    again, warnings = reopen(here, tmp_path)
    assert warnings == []
    # Also the blocks whose sums were made before there was a text.
    again.upkeep()
    assert again.rows.damage is None
    check_texts(again)


def test_texts_that_are_not_in_the_checkpoint_come_from_the_log(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 40)
    save(here, tmp_path)
    write_texts(here, 0, 20)
    again, _ = reopen(here, tmp_path)
    check_texts(again)
    # What was left in the files by a life whose log is lost is not seen.
    here.log, here.model = here.log[:40], {}
    again, _ = reopen(here, tmp_path)
    again.run(*(Upsert(f"u{n}", raw([n] * DIM)) for n in range(30)))
    again.run(Upsert("late", raw([1] * DIM), text="late"))
    check_texts(again)


@pytest.mark.parametrize("name", ["texts", "text_ends"])
@pytest.mark.parametrize("at", [0, 150])
def test_damage_to_texts_is_noticed(tmp_path, name, at):
    here = stored_world(tmp_path)
    write_texts(here, 0, 20)
    save(here, tmp_path)
    flip(file_of(tmp_path, name), HEADER_BYTES + at)
    again, _ = reopen(here, tmp_path)
    again.upkeep()
    assert again.rows.damage is not None
    with pytest.raises(Damaged):
        again.view().scroll(limit=20)


def test_rows_with_texts_go_on_behind_a_damaged_block(tmp_path):
    here = stored_world(tmp_path)
    write_texts(here, 0, 20)
    save(here, tmp_path)
    flip(file_of(tmp_path, "texts"), HEADER_BYTES + 9 * 18 + 4)
    again, _ = reopen(here, tmp_path)
    write_texts(again, 100, 10)
    assert again.view().get("t105").text == "text of 105"
    with pytest.raises(Damaged):
        again.view().get("t18")


def test_documents_are_opened_as_they_were(tmp_path):
    spec = CollectionSpec.of_documents("d", created_at_ms=5)
    here = World(spec, PLAIN, Rows(spec, SALT, PLAIN, RowArrays(tmp_path, 1)))
    changes = [
        (n, DocumentWritten(f"d{n}", b'{"n":%d}' % n, n % 7 + 1, n, n * 1000 or None))
        for n in range(1, 300)
    ]
    changes.append((300, DocumentDeleted("d17")))
    here.rows.apply_all(changes)
    here.now_ms = 0
    save(here, tmp_path)
    assert not list(tmp_path.glob("vectors.*"))
    again, warnings = reopen(here, tmp_path)
    assert warnings == []
    assert again.rows.spec == spec
    view = again.view()
    assert (view.offset, view.live_count, view.get("d17")) == (300, 298, None)
    found = view.get("d20")
    assert (found.meta, found.revision, found.offset) == (b'{"n":20}', 7, 20)
    assert found.expires_at_ms == 20_000
    again.upkeep()
    assert again.rows.damage is None
    flip(file_of(tmp_path, "stamps"), HEADER_BYTES + 3)
    again, _ = reopen(here, tmp_path)
    with pytest.raises(Damaged, match="rows 0 to 15"):
        again.view().get("d3")


def found(here, words):
    return list(here.view().search_text(parse(words, QueryOptions()), Search(50)).hits[0].ids)


def test_the_text_index_is_opened_as_it_was(tmp_path):
    here = stored_world(tmp_path)
    write_texts(here, 0, 30)
    save(here, tmp_path)
    write_texts(here, 30, 5)
    again, warnings = reopen(here, tmp_path)
    assert warnings == []
    assert found(again, "33") == ["t33"]
    assert len(found(again, "text")) == 35


@pytest.mark.parametrize("documents", [False, True])
def test_a_damaged_text_index_is_made_anew_from_the_rows(tmp_path, documents):
    here = stored_world(tmp_path)
    if documents:
        spec = CollectionSpec.of_documents("d")
        here = World(spec, PLAIN, Rows(spec, SALT, PLAIN, RowArrays(tmp_path, 1)))
        here.rows.apply_all(
            [(n, DocumentWritten(f"t{n}", b'{"a":{"b":"text %d"}}' % n, 1, n)) for n in range(30)]
        )
    else:
        fill(here, 40)
        write_texts(here, 0, 30)
    save(here, tmp_path)
    flip(file_of(tmp_path, "text"), 200)
    again, warnings = reopen(here, tmp_path)
    assert len(warnings) == 1
    assert "'text'" in warnings[0]
    assert found(again, "17") == ["t17"]
    file_of(tmp_path, "text").unlink()
    again, warnings = reopen(here, tmp_path)
    assert found(again, "17") == ["t17"]
    assert len(warnings) == 1


def test_a_text_index_of_other_settings_is_made_anew(tmp_path):
    here = stored_world(tmp_path)
    write_texts(here, 0, 3)
    save(here, tmp_path)
    body = manifest_of(tmp_path)
    settings = TextSettings({"text": FieldSettings(language="none")}, others=False)
    body["content"]["spec"]["text"] = settings.to_json()
    write_manifest(tmp_path, body)
    again, warnings = reopen(here, tmp_path)
    assert len(warnings) == 1
    assert found(again, "texts") == []
    assert len(found(again, "text")) == 3
