"""One SELECT over everything, over HTTP: the examples of the documentation, and who sees what."""

import json
import re
from pathlib import Path

import attrs
import pytest

from kissvdb.api.frame.principal import Scope
from kissvdb.config import Search
from kissvdb.core.grants import Grants
from tests.api.caller import IN_MEMORY, opened, reading, refused
from tests.api.embedding_service import service
from tests.api.keyed import keyed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sql.md"
NOVELS = {"solaris": [0.9, 0.1], "dune": [0.8, 0.3], "emma": [0.0, 1.0]}
NOTES = {
    "1": {"by": "user:ada", "text": "an ocean that thinks", "stars": 5},
    "2": {"by": "user:ada", "text": "sand, and more sand", "stars": 4},
    "3": {"by": "user:bob", "text": "no ocean, no space", "stars": 2},
}


@pytest.fixture
def words():
    with service() as found:
        yield found


@pytest.fixture
async def call(words):
    config = attrs.evolve(IN_MEMORY, search=Search(compile=False), embedder=words.settings())
    async with opened(config) as caller:
        await fill(caller)
        yield caller


async def fill(call):
    async def done(method, target, value):
        answer = await call(method, target, value)
        assert answer.status in (200, 201), answer.body

    await done("POST", "/v1/vector/novels", {"dim": 2})
    await done("POST", "/v1/vector/texts", {"embedder": "default"})
    await done(
        "POST", "/v1/sql/exec", {"sql": "CREATE TABLE books(id TEXT PRIMARY KEY NOT NULL, price)"}
    )
    for price, (id_, vector) in enumerate(NOVELS.items(), start=8):
        body = {"id": id_, "vector": vector, "meta": {"genre": "sf" if price < 10 else "other"}}
        await done("POST", "/v1/vector/novels/upsert", body)
        insert = {"sql": "INSERT INTO books VALUES (?, ?)", "params": [id_, price]}
        await done("POST", "/v1/sql/exec", insert)
    for text in ("a ship at sea", "a house in town"):
        await done("POST", "/v1/vector/texts/upsert", {"id": text[2:7], "text": text})
    for id_, note in NOTES.items():
        await done("PUT", f"/v1/doc/notes/{id_}", note)
    for name in ("ada", "bob"):
        await done("PUT", f"/v1/state/user:{name}", {"value": {"name": name.title()}})


async def query(call, sql, params=None, **more):
    answer = await call("POST", "/v1/sql/query", {"sql": sql, "params": params, **more})
    assert answer.status == 200, answer.body
    found = reading(answer)
    assert found["offset"] == call.database.last_offset
    return [tuple(row.values()) for row in found["rows"]]


def examples():
    part = PAGE.read_text().partition("## One SELECT over everything")[2].partition("\n## ")[0]
    return re.findall(r"```sql\n(.*?)```", part, re.DOTALL)


async def test_the_examples_of_the_documentation_find_what_they_say(call):
    near, notes, words, embedded, pairs, newest, times = [
        await query(call, sql) for sql in examples()
    ]
    assert [row[:2] + row[3:] for row in near] == [("solaris", 8, "sf"), ("dune", 9, "sf")]
    assert notes == [
        ("user:ada", "Ada", "sand, and more sand"),
        ("user:ada", "Ada", "an ocean that thinks"),
        ("user:bob", "Bob", "no ocean, no space"),
    ]
    assert words == [("1", 1, "an ocean that thinks")]
    assert embedded[0][0] == "ship "
    assert embedded[0][2] == "a ship at sea"
    assert pairs == [("dune", "solaris"), ("emma", "dune"), ("solaris", "dune")]
    assert [row[1:] for row in newest[:2]] == [
        ("state_updated", "user:bob"),
        ("state_updated", "user:ada"),
    ]
    assert dict(times)["vector_upserted"] == 5


async def test_explain_shows_what_is_pushed_down(call):
    sql = "SELECT key FROM state WHERE key >= 'a' AND key < 'b' ORDER BY key"
    (row,) = await query(call, sql, explain=True)
    assert "SCAN state VIRTUAL TABLE INDEX 1:key>= AND key< ORDER BY key" in row
    assert row[-1] in PAGE.read_text()


async def test_rows_come_as_lines_too(call):
    sql = "SELECT id, rank FROM vector_search('novels', '[1, 0]', 2)"
    answer = await call("POST", "/v1/sql/query", {"sql": sql, "format": "ndjson"})
    lines = b"".join([blob async for blob in answer.body]).splitlines()
    await answer.body.aclose()
    assert [json.loads(line) for line in lines[1:-1]] == [["solaris", 1], ["dune", 2]]


async def test_what_cannot_be_is_refused_with_what_to_do(call):
    for sql, status, code, words in (
        ("SELECT * FROM vector_search('novels')", 400, "invalid_argument", "query missing"),
        ("SELECT * FROM vector_search('novels', 'sea')", 400, "invalid_argument", "no embedder"),
        ("SELECT * FROM vector_search('novels', '[1]')", 400, "dim_mismatch", "send 2 numbers"),
        ("SELECT * FROM vectors('none')", 404, "not_found", "no collection 'none'"),
        ("SELECT * FROM documents('no' || 'tes')", 400, "invalid_argument", "not named"),
        ("SELECT * FROM text_search('notes', 'a', 9999)", 400, "invalid_argument", "k must be"),
    ):
        refused(await call("POST", "/v1/sql/query", {"sql": sql}), status, code, words)


async def test_a_text_is_embedded_once_in_a_statement_and_within_its_time(call, words):
    sql = (
        "SELECT n.value, s.id FROM json_each('[1,2,3]') AS n,"
        " vector_search('texts', 'a house', 1) AS s"
    )
    before = len(words.texts)
    assert await query(call, sql) == [(1, "house"), (2, "house"), (3, "house")]
    assert words.texts[before:] == ["a house"]
    sql = "SELECT id FROM hybrid_search('texts', 'never asked for', 1)"
    words.may_answer.clear()
    answer = await call("POST", "/v1/sql/query", {"sql": sql, "timeout_ms": 200})
    words.may_answer.set()
    refused(answer, 408, "timeout", "200 ms")
    words.broken = True
    sql = "SELECT id FROM vector_search('texts', 'nor this', 1)"
    answer = await call("POST", "/v1/sql/query", {"sql": sql})
    assert answer.status == 503, answer.body


async def test_scopes_hold_in_every_table_and_search():
    tenant = Grants(keys=("a:*",), documents=("a_*",), vectors=("a_*",), events=("a.*",))
    async with keyed(root=(Scope.ADMIN, None), tenant=(Scope.READ, tenant)) as who:
        root, mine = who("root"), who("tenant")
        for name in ("a", "b"):
            note = {"text": f"secret of {name}"}
            row = {"id": name, "vector": [1, 0], "meta": note}
            for method, target, value in (
                ("PUT", f"/v1/state/{name}:1", {"value": note}),
                ("PUT", f"/v1/doc/{name}_notes/1", note),
                ("POST", f"/v1/vector/{name}_v", {"dim": 2}),
                ("POST", f"/v1/vector/{name}_v/upsert", row),
                ("POST", "/v1/events", {"type": f"{name}.made", "data": note}),
                ("POST", "/v1/sql/exec", {"sql": f"CREATE TABLE {name}_mine(n)"}),
            ):
                answer = await root(method, target, value)
                assert answer.status in (200, 201), answer.body

        async def rows(sql):
            answer = await mine("POST", "/v1/sql/query", {"sql": sql})
            assert answer.status == 200, answer.body
            assert b"of b" not in answer.body
            return [tuple(row.values()) for row in reading(answer)["rows"]]

        assert await rows("SELECT key FROM state") == [("a:1",), ("doc:a_notes:1",)]
        assert await rows("SELECT key FROM state WHERE key = 'b:1' OR key GLOB 'b*'") == []
        assert len(await rows("SELECT * FROM documents('a_notes')")) == 1
        assert await rows("SELECT id FROM vector_search('a_v', '[1, 0]')") == [("a",)]
        types = [row[0] for row in await rows("SELECT type FROM events ORDER BY 1")]
        assert types == ["a.made", "state_updated", "state_updated", *VECTOR_TYPES]
        for name in ("b", "none"):
            for sql in (
                f"SELECT * FROM documents('{name}_notes')",
                f"SELECT * FROM vectors('{name}_v')",
                f"SELECT * FROM vector_search('{name}_v', '[1, 0]')",
                f"SELECT * FROM text_search('{name}_notes', 'secret')",
                f"SELECT * FROM hybrid_search('{name}_v', 'secret', 3, NULL, '[1, 0]')",
            ):
                answer = await mine("POST", "/v1/sql/query", {"sql": sql})
                refused(answer, 403, "forbidden", f"'{name}_")


VECTOR_TYPES = ["vector_collection_created", "vector_upserted"]
