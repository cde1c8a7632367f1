"""How many views a statement has SQLite write out, told by texts."""

import time

import apsw
import pytest

from kissvdb.core.sql import views
from kissvdb.errors import SqliteError


def doubling(depth):
    texts = {"d0": "CREATE VIEW d0 AS SELECT * FROM t"}
    for n in range(depth):
        texts[f"d{n + 1}"] = f"CREATE VIEW d{n + 1} AS SELECT * FROM d{n} JOIN D{n} AS other"
    return texts


def test_a_view_counts_what_it_names_as_often_as_it_does():
    sizes = views.sizes_of(doubling(5))
    assert [sizes[f"d{n}"] for n in range(6)] == [1, 3, 7, 15, 31, 63]


def test_more_than_the_most_is_as_good_as_more():
    assert views.sizes_of(doubling(2000))["d2000"] == views.WRITTEN_OUT_MAX + 1


def test_names_in_any_quotes_and_cases():
    sizes = {'my "own"': 600}
    for text in ('"my ""own"""', "'My \"Own\"'", '`my "own"`', '[MY "OWN"]'):
        views.check(f"SELECT * FROM {text}", sizes)
        with pytest.raises(SqliteError, match="views of views"):
            views.check(f"SELECT * FROM {text}, {text} AS b", sizes)


def test_views_that_name_each_other_end():
    texts = {"a": "CREATE VIEW a AS SELECT * FROM b, b", "b": "CREATE VIEW b AS SELECT * FROM a, a"}
    assert set(views.sizes_of(texts)) == {"a", "b"}
    assert views.sizes_of({"x": "CREATE VIEW x AS SELECT * FROM x"}) == {"x": 1}


@pytest.mark.parametrize(
    "text",
    [
        "/* ' */ SELECT * FROM big, big AS b /* ' */",
        '-- "\nSELECT * FROM big, big AS b --"',
        "SELECT $a('), b.* FROM big, big AS b WHERE 1 = $b(')",
        "SELECT :a::b('), b.* FROM big, big AS b WHERE 1 = @c(')",
        "SELECT * FROM /*/ ' */ big, big AS b -- '",
        "SELECT 1 AS [a'b], b.* FROM big, big AS b WHERE '[' < ''",
        "SELECT * FROM big, big AS b /* [",
    ],
)
def test_nothing_hides_a_name_that_sqlite_reads(text):
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIEW big AS SELECT 1 AS x")
    seen = []
    db.authorizer = lambda code, a, b, c, view: seen.append(a) or apsw.SQLITE_OK
    bindings = dict.fromkeys(("a(')", "b(')", "a::b(')", "c(')"))
    db.execute(text, bindings)
    assert "big" in seen
    with pytest.raises(SqliteError, match="views of views"):
        views.check(text, {"big": 600})


def test_names_are_any_that_sqlite_takes():
    sizes = {"\U0001f600x": 600, "É": 600, "é": 1}
    for name in sizes:
        views.check(f"SELECT * FROM {name}", sizes)
    views.check("SELECT * FROM é, é", sizes)
    for name in ("\U0001f600X", "É"):
        with pytest.raises(SqliteError, match="views of views"):
            views.check(f"SELECT * FROM {name}, {name}", sizes)
    texts = {"É": "CREATE VIEW É AS SELECT * FROM a, a", "é": "SELECT 1", "a": "SELECT 1"}
    assert views.sizes_of(texts) == {"É": 3, "é": 1, "a": 1}


def test_a_text_is_read_in_one_pass():
    # Of the processor's time: an hour, where a text was read anew from each of its places.
    began = time.thread_time()
    for each in "[\"'`(/-$:":
        views.names_of(f"SELECT {each * 100_000}")
    assert time.thread_time() - began < 20
