"""Finding documents over HTTP: filters, order, pages, parts of documents, counts, facets."""

import json

import pytest

from kissvdb.config import Limits
from tests.api.caller import Caller, header, opened, reading, refused

BOOKS = {
    "solaris": {"title": "Solaris", "year": 1961, "tags": ["novel", "space"], "by": {"n": "Lem"}},
    "dune": {
        "title": "Dune",
        "year": 1965,
        "tags": ["novel"],
        "by": {"n": "Herbert", "f": "Frank"},
    },
    "ubik": {"title": "Ubik", "year": 1969, "tags": [], "a.b": 1},
    "list": [1, 2],
    "emma": {"title": "Emma", "year": 1815, "tags": ["novel"], "by": {"n": "Austen"}},
}


@pytest.fixture
async def books(call: Caller):
    documents = [{"id": id_, "doc": doc} for id_, doc in BOOKS.items()]
    answer = await call("POST", "/v1/doc/books/put_batch", {"documents": documents})
    assert answer.status == 200
    return call


async def find(call, body, collection="books"):
    answer = await call("POST", f"/v1/doc/{collection}/find", body)
    assert answer.status == 200, answer.body
    found = reading(answer)
    assert header(answer, "kissvdb-offset") == str(found["offset"])
    return found


def ids(found):
    return [each["id"] for each in found["documents"]]


@pytest.mark.parametrize("body", [{}, {"filter": None}, {"filter": {}}, {"filters": {}}])
async def test_without_a_filter_all_come_in_the_order_of_ids(books, body):
    found = await find(books, body)
    assert ids(found) == sorted(BOOKS)
    assert found["documents"][0] == {"id": "dune", "doc": BOOKS["dune"], "revision": 1, "offset": 2}
    assert (found["cursor"], found["offset"]) == (None, 5)


async def test_a_write_is_found_when_it_is_answered(books):
    await books("PATCH", "/v1/doc/books/dune", {"year": 1966})
    found = await find(books, {"filter": {"year": 1966}})
    assert [(each["id"], each["revision"], each["offset"]) for each in found["documents"]] == [
        ("dune", 2, 6)
    ]
    await books("PUT", "/v1/state/doc:books:new", {"value": {"year": 1966}})
    assert ids(await find(books, {"filter": {"year": 1966}})) == ["dune", "new"]
    await books("DELETE", "/v1/doc/books/dune")
    assert ids(await find(books, {"filter": {"year": 1966}})) == ["new"]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"year": {"$gte": 1961, "$lt": 1969}}, ["dune", "solaris"]),
        ({"by.n": "Lem"}, ["solaris"]),
        ({"tags": {"$contains": "novel"}, "year": {"$lt": 1900}}, ["emma"]),
        (
            {"$or": [{"title": {"$prefix": "U"}}, {"by": {"f": "Frank", "n": "Herbert"}}]},
            ["dune", "ubik"],
        ),
        ({"$not": {"year": {"$exists": True}}}, ["list"]),
        ({"must_not": [{"key": "year", "range": {"gt": 1900}}]}, ["emma", "list"]),
        ({"a.b": 1}, ["ubik"]),
    ],
)
async def test_the_whole_filter_language_holds(books, filters, wanted):
    assert ids(await find(books, {"filter": filters})) == wanted
    assert ids(await find(books, {"filters": filters})) == wanted


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ("year", ["emma", "solaris", "dune", "ubik", "list"]),
        ("-year", ["ubik", "dune", "solaris", "emma", "list"]),
        (["-year"], ["ubik", "dune", "solaris", "emma", "list"]),
        ([{"field": "year", "missing": "first"}], ["list", "emma", "solaris", "dune", "ubik"]),
        ([{"field": "year", "order": "desc"}], ["ubik", "dune", "solaris", "emma", "list"]),
        ("by.f,-title", ["dune", "ubik", "solaris", "emma", "list"]),
        (["+title"], ["dune", "emma", "solaris", "ubik", "list"]),
        ("tags,id_that_is_none", ["dune", "emma", "solaris", "ubik", "list"]),
        (None, sorted(BOOKS)),
    ],
)
async def test_sort_by_any_fields(books, sort, wanted):
    assert ids(await find(books, {"sort": sort})) == wanted
    seen, body = [], {"sort": sort, "limit": 2}
    while True:
        found = await find(books, body)
        seen += ids(found)
        if found["cursor"] is None:
            break
        body["cursor"] = found["cursor"]
    assert seen == wanted


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (["title"], {"title": "Dune"}),
        (["by.n", "year"], {"year": 1965, "by": {"n": "Herbert"}}),
        (["by.none", "none"], {}),
        (["-tags", "-by.n"], {"title": "Dune", "year": 1965, "by": {"f": "Frank"}}),
        (["by", "-by.f"], {"by": {"n": "Herbert"}}),
        ({"include": ["by"], "exclude": ["by.f"]}, {"by": {"n": "Herbert"}}),
        ({"include": []}, {}),
        ([], BOOKS["dune"]),
        (None, BOOKS["dune"]),
    ],
)
async def test_a_part_of_a_document(books, fields, wanted):
    found = await find(books, {"filter": {"title": "Dune"}, "fields": fields})
    assert found["documents"][0]["doc"] == wanted


async def test_parts_follow_paths_as_filters_do(books):
    found = await find(books, {"fields": ["a.b"], "filter": {"a.b": 1}})
    assert found["documents"][0]["doc"] == {"a.b": 1}
    assert (await find(books, {"fields": ["title"]}))["documents"][2]["doc"] == {}
    body = b'{"n": 1.50, "t": "\\u00e9", "x": {"y": 12345678901234567890}}'
    await books("PUT", "/v1/doc/exact/a", body=body)
    answer = await books("POST", "/v1/doc/exact/find", {"fields": ["n", "t", "x.y"]})
    assert b'{"n":1.50,"t":"\\u00e9","x":{"y":12345678901234567890}}' in answer.body


async def test_counts_and_facets_are_of_all_that_pass(books):
    body = {"filter": {"year": {"$gt": 1900}}, "limit": 1, "count": True, "facets": {"tags": 1}}
    found = await find(books, body)
    assert (len(found["documents"]), found["count"]) == (1, 3)
    assert found["facets"] == {"tags": {"values": [{"value": "novel", "count": 2}], "distinct": 2}}
    found = await find(books, {"limit": 0, "facets": ["by.n", "year", "none"]})
    assert found["documents"] == []
    assert found["facets"]["by.n"]["distinct"] == 3
    assert found["facets"]["year"]["values"][0] == {"value": 1815, "count": 1}
    assert found["facets"]["none"] == {"values": [], "distinct": 0}


async def test_an_explanation_tells_what_a_filter_misses(books):
    body = {"filter": {"year": {"$gt": "1900"}}, "sort": "year", "explain": True}
    explained = (await find(books, body))["explain"]
    assert (explained["plan"], explained["rows"], explained["selectivity"]) == ("columns", 5, 0)
    assert "numbers there" in explained["notes"][0]


async def test_a_collection_without_documents_has_none(call: Caller):
    body = {"count": True, "facets": ["a"], "explain": True}
    found = await find(call, body, "none")
    assert (found["documents"], found["cursor"], found["count"]) == ([], None, 0)
    assert found["facets"] == {"a": {"values": [], "distinct": 0}}
    refused(await call("GET", "/v1/doc/none"), 404, "not_found")
    refused(await call("DELETE", "/v1/doc/none"), 404, "not_found")
    answer = await call("POST", "/v1/doc/none/delete_by_filter", {"all": True})
    assert reading(answer) == {"deleted": 0, "offset": None}
    assert reading(await call("GET", "/v1/doc")) == {"collections": []}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"filter": {"a": 1}, "filters": {"a": 1}}, 400, ["filter and filters", "one of them"]),
        ({"filter": [1]}, 400, ["filters", "object"]),
        ({"filter": {"a": {"$regex": "x"}}}, 400, ["$regex", "unknown operator"]),
        ({"limit": 101}, 400, ["0 to 100", "MAX_DOC_FIND"]),
        ({"limit": -1}, 400, ["body.limit"]),
        ({"sort": "year:desc"}, 400, ['"-year"']),
        ({"sort": {"year": -1}}, 422, ["body.sort", "expected"]),
        ({"sort": [{"field": "year", "order": "down"}]}, 422, ["asc or desc"]),
        ({"sort": [{"name": "year"}]}, 422, ["body.sort[0]", "name"]),
        ({"sort": ["a"] * 9}, 400, ["at most 8 fields"]),
        ({"sort": [""]}, 400, ["body.sort[0]", "1 to 256 bytes"]),
        ({"sort": "-"}, 400, ["1 to 256 bytes"]),
        ({"fields": {"title": 1}}, 422, ["body.fields.title", "unknown field"]),
        ({"fields": [1]}, 422, ["body.fields"]),
        ({"facets": {"tags": 0}}, 400, ["body.facets.tags", "1 to 1000"]),
        ({"facets": ["a"] * 8 + [str(n) for n in range(16)]}, 400, ["at most 16"]),
        ({"cursor": "nonsense"}, 400, ["body.cursor"]),
        ({"cursor": "é"}, 400, ["body.cursor"]),
        ({"cursor": "W10"}, 400, ["body.cursor"]),
        ({"where": {"a": 1}}, 422, ["did you mean filter"]),
        ({"k": 3}, 422, ["did you mean limit?"]),
        ({"order_by": "a"}, 422, ["did you mean sort?"]),
        ({"projection": ["a"]}, 422, ["did you mean fields?"]),
        ({"skip": 10}, 422, ["cursor"]),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_says_why(books, body, status, words):
    answer = await books("POST", "/v1/doc/books/find", body)
    refused(answer, status, "invalid_argument", *words)


async def test_a_cursor_belongs_to_its_order(books):
    cursor = (await find(books, {"sort": "year", "limit": 1}))["cursor"]
    answer = await books("POST", "/v1/doc/books/find", {"sort": "-year", "cursor": cursor})
    refused(answer, 400, "invalid_argument", "another order")


async def test_a_page_ends_early_rather_than_grow_without_end():
    limits = Limits(json_bytes_max=4 << 20, body_bytes_max=8 << 20)
    async with opened(limits=limits) as call:
        for n in range(3):
            assert (await call("PUT", f"/v1/doc/c/{n}", {"t": "x" * 3_500_000})).status == 200
        found = await find(call, {}, "c")
        assert ids(found) == ["0", "1"]
        assert ids(await find(call, {"cursor": found["cursor"]}, "c")) == ["2"]


async def test_what_passes_is_deleted_and_all_only_when_it_is_said(books):
    async def delete(body):
        return await books("POST", "/v1/doc/books/delete_by_filter", body)

    for nothing in ({}, {"filter": {}}, {"filters": {"$and": [{}]}}, {"all": False}):
        refused(await delete(nothing), 400, "invalid_argument", '"all": true')
    answer = reading(await delete({"filter": {"tags": {"$contains": "novel"}}}))
    assert answer == {"deleted": 3, "offset": 8}
    assert ids(await find(books, {})) == ["list", "ubik"]
    assert reading(await delete({"all": True}))["deleted"] == 2
    assert ids(await find(books, {})) == []


async def test_collections_are_listed_shown_configured_and_dropped(books):
    listed = reading(await books("GET", "/v1/doc"))["collections"]
    assert [(each["collection"], each["count"]) for each in listed] == [("books", 5)]
    text = {"fields": {"title": {"weight": 3, "language": "spanish"}}}
    set_ = reading(await books("PUT", "/v1/doc/books", {"text": text}))
    assert set_["settings"]["text"]["fields"]["title"]["language"] == "spanish"
    shown = reading(await books("GET", "/v1/doc/books"))
    assert (shown["count"], shown["settings"]) == (5, set_["settings"])
    # Of the first documents, too.
    assert shown["fields"] == ["a.b", "by", "by.f", "by.n", "tags", "title", "year"]
    refused(
        await books("PUT", "/v1/doc/books", {"text": {"fields": {"a": {"language": "klingon"}}}}),
        400,
        "invalid_argument",
        "language",
    )
    refused(await books("PUT", "/v1/doc/books", {"txt": {}}), 422, "invalid_argument", "text")
    dropped = reading(await books("DELETE", "/v1/doc/books"))
    assert (dropped["deleted"], dropped["documents"]) == (True, 5)
    refused(await books("GET", "/v1/doc/books"), 404, "not_found")
    assert ids(await find(books, {})) == []


async def test_a_bulk_load_is_found_by_its_last_answer(call: Caller):
    lines = [
        json.dumps({"op": "doc_put", "collection": "c", "id": f"{n:04}", "doc": {"n": n % 10}})
        for n in range(1500)
    ]
    answer = await call("POST", "/v1/bulk?answers=errors", body="\n".join(lines).encode())
    assert b'"errors":0' in answer.body
    found = await find(call, {"filter": {"n": 3}, "count": True, "sort": "-n"}, "c")
    assert (found["count"], ids(found)[:2]) == (150, ["0003", "0013"])
