"""Every index beside one made anew: what a file with a sound checksum may say all the same."""

import apsw
import numpy as np
import pytest

from kissvdb.commands.deep_check import DeepCheck
from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Delete, Upsert
from kissvdb.storage.rows import array_file
from kissvdb.storage.rows import files as row_files
from kissvdb.storage.rows.arrays import RowArrays
from kissvdb.storage.state.table import StateTable
from tests.core.row_world import PLAIN, SALT, World, clusters, compiled, raw
from tests.storage.row_directory import DIM, file_of, save, stored_world

WORDS = ("red", "green", "blue", "houses", "trees")


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def rich(directory, count=600, **fields):
    """Rows of all kinds: with texts and without, replaced, deleted, merged and vacuumed."""
    directory.mkdir()
    here = stored_world(directory, **{"index": "flat", **fields})
    vectors = clusters(3, count, DIM)
    for start in range(0, count, 200):
        here.run(
            *(
                Upsert(
                    f"v{n % 450}",
                    raw(vectors[n]),
                    b'{"n":%d,"tags":["%s"],"deep":{"x":%s}}'
                    % (n % 9, WORDS[n % 5].encode(), b"null" if n % 4 else b'"y"'),
                    text=" ".join(WORDS[: n % 6]) or None,
                )
                for n in range(start, start + 200)
            )
        )
        here.run(Delete(f"v{start + 7}"))
        here.upkeep()
    save(here, directory)
    return here


def problems(directory, data_dir=None, notes=None):
    opened = row_files.open_directory(directory)
    check = DeepCheck(data_dir or directory.parent, [] if notes is None else notes)
    try:
        return check(opened)
    finally:
        opened.arrays.close()


def rewrite(directory, name, change):
    """Change an array of an index; the file's checksum is that of what is in it then."""
    path = file_of(directory, name)
    arrays = {key: array.copy() for key, array in array_file.read(path).items()}
    change(arrays)
    array_file.write(path, arrays)


def test_indexes_that_say_what_their_rows_say_pass(tmp_path):
    here = rich(tmp_path / "c")
    assert problems(tmp_path / "c") == []
    while (work := here.rows.vacuum()) is not None:
        work.run()
        here.rows.install(work)
    here.run(Upsert("late", raw([1] * DIM), b'{"n":"text"}', text="red ones"))
    save(here, tmp_path / "c")
    assert problems(tmp_path / "c") == []


def middle(name):
    def change(arrays):
        arrays[name][len(arrays[name]) // 2] ^= 1

    return change


def bury(arrays):
    arrays["words"][0] ^= np.uint64(1 << 3)


def other_slot(arrays):
    places = np.flatnonzero(arrays["slots"])
    arrays["slots"][places[0]] += np.uint64(1)


def far_slot(arrays):
    places = np.flatnonzero(arrays["slots"])
    arrays["slots"][places] |= np.uint64(0xFFFF)


def other_word(arrays):
    place = int(np.flatnonzero(arrays["stream"] >= 0)[-1])
    arrays["stream"][place] = (arrays["stream"][place] + 1) % len(arrays["term_fields"])


def less_often(arrays):
    arrays["tfs"][3] += 1


def lost_slot(arrays):
    arrays["word_slots"][:] = 0


@pytest.mark.parametrize(
    ("index", "change", "reason"),
    [
        ("ids", other_slot, "is row"),
        ("rows", bury, "ids|row"),
        ("ids", far_slot, "cannot be read"),
        ("metadata", middle("codes8"), "field"),
        ("metadata", middle("blob"), "field"),
        ("text", other_word, "other terms"),
        ("text", less_often, "postings"),
        ("text", lost_slot, "is not found"),
    ],
)
def test_an_index_that_says_something_else_is_found(tmp_path, index, change, reason):
    rich(tmp_path / "c")
    rewrite(tmp_path / "c", index, change)
    (problem, *_) = problems(tmp_path / "c")
    assert file_of(tmp_path / "c", index).name in problem or index == "rows"
    assert any(part in problem for part in reason.split("|"))


def test_a_graph_that_leads_nowhere_is_found(tmp_path, kernels):
    (tmp_path / "c").mkdir()
    here = stored_world(tmp_path / "c", kernels)
    vectors = clusters(3, 1500, DIM)
    here.run(*(Upsert(f"v{n}", raw(vector)) for n, vector in enumerate(vectors)))
    here.upkeep()
    assert here.rows.view(0).indexed_rows
    save(here, tmp_path / "c")
    assert problems(tmp_path / "c") == []

    def cut(arrays):
        arrays["links"][100:1000] = -1
        arrays["links"][(arrays["links"] >= 100) & (arrays["links"] < 1000)] = -1

    rewrite(tmp_path / "c", "graph", cut)
    (problem,) = problems(tmp_path / "c")
    assert "no link leads to" in problem


def documents(directory):
    directory.mkdir(parents=True)
    spec = CollectionSpec.of_documents("d")
    return World(spec, PLAIN, Rows(spec, SALT, PLAIN, RowArrays(directory, 1)))


def table(directory, items, applied):
    StateTable(directory / "state-0.db").close()
    connection = apsw.Connection(str(directory / "state-0.db"))
    connection.executemany("INSERT INTO kv VALUES (?, ?, ?, ?, NULL)", items)
    connection.execute("UPDATE meta SET v = ? WHERE k = 'applied'", (applied,))
    connection.close()


def test_documents_are_compared_with_their_keys(tmp_path):
    here = documents(tmp_path / "documents" / "d")
    here.rows.apply_all(
        [
            (1, DocumentWritten("same", b"1", 1, 1)),
            (2, DocumentWritten("gone", b"2", 1, 2)),
            (3, DocumentDeleted("gone")),
            (4, DocumentWritten("other", b'"old"', 1, 4)),
            (5, DocumentWritten("extra", b"5", 1, 5)),
        ]
    )
    save(here, tmp_path / "documents" / "d")
    same = [
        ("doc:d:same", "1", 1, 1),
        ("doc:d:other", '"old"', 1, 4),
        ("doc:d:extra", "5", 1, 5),
        ("doc:dd:no", "1", 1, 1),
    ]
    for items, wrong in (
        (same, None),
        ([("doc:d:same", "1", 2, 1), *same[1:]], "'same' is not what its key holds"),
        ([same[0], ("doc:d:other", '"new"', 1, 4), *same[2:]], "'other' is not what"),
        ([*same, ("doc:d:lost", "1", 1, 3)], "'lost' has no row"),
        ([same[0], same[1], same[3]], "'extra' has no key"),
        ([*same[1:], ("doc:d:same", "1", 2, 2)], "'same' is of offset 1, not 2"),
    ):
        data_dir = tmp_path / str(wrong)
        data_dir.mkdir()
        table(data_dir, items, 5)
        found = problems(tmp_path / "documents" / "d", data_dir)
        if wrong is None:
            assert found == []
        else:
            assert wrong in found[0]


def test_fields_that_a_vacuum_has_dropped_keep_their_place(tmp_path):
    """There is room for 64 fields: those that came first, also when their rows are no more."""
    here = documents(tmp_path / "documents" / "d")
    writes = [DocumentWritten(f"d{n}", b'{"f%d":"word"}' % n, 1, n + 1) for n in range(70)]
    deletes = [DocumentDeleted(f"d{n}") for n in range(20)]
    here.rows.apply_all(list(enumerate([*writes, *deletes], 1)))
    work = here.rows.vacuum()
    work.run()
    here.rows.install(work)
    save(here, tmp_path / "documents" / "d")
    data_dir = tmp_path / "keys"
    data_dir.mkdir()
    keys = [(f"doc:d:d{n}", f'{{"f{n}":"word"}}', 1, n + 1) for n in range(20, 70)]
    table(data_dir, keys, 90)
    assert problems(tmp_path / "documents" / "d", data_dir) == []
