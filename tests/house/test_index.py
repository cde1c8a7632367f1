"""The room of indexes: rows know no kind of index, and an index nothing of the rows' owner."""

from tests.house.test_layers import imported_names, modules

KINDS = {"graph", "graph_body", "graph_growth", "flat"}
# What an index is made of; of the kernels, all.
BELOW = {"bitmaps", "search", "store", "index", "metadata", "postings", "numbers"}
# Of the kernels, what is no compiled code.
PLAIN = {"arrays", "plain"}


def parts(path, room):
    """What a module imports of a room, by the name behind the room's."""
    for name in imported_names(path):
        words = name.split(".")
        if words[:2] == ["kissvdb", room] and len(words) > 2:
            yield words[2], words[3:]


def test_rows_know_no_kind_of_index():
    for path in modules("kissvdb/core/rows", "kissvdb/core/store"):
        for word, rest in parts(path, "core"):
            assert word != "index" or not rest or rest[0] not in KINDS, path.name
        assert {word for word, _ in parts(path, "kernels")} <= PLAIN, path.name
        text = path.read_text()
        assert "spec.index ==" not in text, path.name
        assert "PRECISIONS" not in text, path.name


def test_an_index_knows_nothing_of_who_owns_the_rows():
    for path in modules("kissvdb/core/index"):
        assert {word for word, _ in parts(path, "core")} <= BELOW, path.name
