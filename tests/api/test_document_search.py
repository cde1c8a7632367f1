"""Full text search over documents over HTTP."""

import pytest
import trio

from tests.api.caller import Caller, header, reading, refused
from tests.patience import PATIENCE_SECS

PAPERS = {
    "a": {"title": "Raft", "body": "An understandable consensus algorithm", "year": 2014},
    "b": {
        "title": "Paxos made simple",
        "body": "The consensus of part-time parliaments",
        "year": 2001,
    },
    "c": {"title": "Consensus", "body": "Impossible with one faulty process", "year": 1985},
    "d": {
        "title": "Búsqueda",
        "authors": [{"name": "x"}],
        "notes": {"es": "los árboles y las hojas"},
    },
    "e": {"title": "東京都の図書館", "year": 2020, "tags": ["libro", "consensus free"]},
    "f": ["a list has no fields: consensus"],
}


@pytest.fixture
async def papers(call: Caller):
    documents = [{"id": id_, "doc": doc} for id_, doc in PAPERS.items()]
    assert (await call("POST", "/v1/doc/papers/put_batch", {"documents": documents})).status == 200
    return call


async def search(call, collection="papers", /, **body):
    answer = await call("POST", f"/v1/doc/{collection}/search", body)
    assert answer.status == 200, answer.body
    found = reading(answer)
    assert header(answer, "kissvdb-offset") == str(found["offset"])
    return found


def ids(found):
    return [hit["id"] for hit in found["hits"]]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"text": "consensus"}, {"a", "b", "c", "e"}),
        ({"text": "consensus paxos", "match": "all"}, {"b"}),
        ({"text": '"understandable consensus"'}, {"a"}),
        ({"text": "under*"}, {"a"}),
        ({"text": "consensus -paxos -raft"}, {"c", "e"}),
        ({"text": "title:consensus"}, {"c"}),
        ({"text": "consensus", "search_fields": ["body"]}, {"a", "b"}),
        ({"text": "consensus", "search_fields": {"title": 2}}, {"c"}),
        ({"text": "arboles"}, {"d"}),
        ({"text": "東京"}, {"e"}),
        ({"text": "consensus", "filter": {"year": {"$gt": 2000}}}, {"a", "b", "e"}),
        ({"text": "consensus", "filters": {"tags": {"$contains": "libro"}}}, {"e"}),
        ({"text": "parliament"}, {"b"}),
        ({"text": "nothing-has-this", "typos": "off"}, set()),
    ],
)
async def test_words_find_documents(papers, body, wanted):
    assert set(ids(await search(papers, **body))) == wanted


async def test_a_hit_is_the_document_with_its_score(papers):
    found = await search(papers, text="raft", k=1)
    hit = found["hits"][0]
    assert (hit["id"], hit["doc"], hit["revision"], hit["offset"]) == ("a", PAPERS["a"], 1, 1)
    assert hit["score"] > 0
    assert "exhausted" not in found
    few = await search(papers, text="raft", fields=["year"])
    assert (few["hits"][0]["doc"], few["exhausted"]) == ({"year": 2014}, True)


async def test_a_write_is_found_when_it_is_answered(papers):
    await papers("PUT", "/v1/doc/papers/new", {"title": "zookeeper"})
    assert ids(await search(papers, text="zookeeper")) == ["new"]
    await papers("PATCH", "/v1/doc/papers/new", {"title": "chubby"})
    assert ids(await search(papers, text="zookeeper", typos="off")) == []
    await papers("DELETE", "/v1/doc/papers/new")
    assert ids(await search(papers, text="chubby", typos="off")) == []


async def test_weights_and_pages_are_of_one_order(papers):
    first = await search(papers, text="consensus", search_fields={"title": 100, "body": 1})
    assert ids(first)[0] == "c"
    whole = ids(await search(papers, text="consensus"))
    pages = [ids(await search(papers, text="consensus", k=2, offset=n))[:2] for n in (0, 2)]
    assert pages[0] + pages[1] == whole
    scores = [hit["score"] for hit in (await search(papers, text="consensus"))["hits"]]
    assert len((await search(papers, text="consensus", min_score=scores[1]))["hits"]) >= 2


async def test_highlights_are_of_the_fields_that_match(papers):
    found = await search(papers, text="parliaments", highlight=True)
    passage = found["hits"][0]["highlight"][0]
    assert passage["field"] == "body"
    assert "<mark>parliaments</mark>" in passage["text"]
    only = {"fields": ["title"], "pre": "[", "post": "]"}
    found = await search(papers, text="paxos consensus", highlight=only, k=1)
    assert [each["text"] for each in found["hits"][0]["highlight"]] == ["[Paxos] made simple"]


async def test_counts_and_facets_are_of_all_that_match(papers):
    found = await search(papers, text="consensus", k=1, count=True, facets={"year": 2})
    assert (len(found["hits"]), found["count"]) == (1, 4)
    assert found["facets"]["year"]["distinct"] == 4
    body = {"filter": {"year": {"$lt": 2000}}, "facets": ["year"], "count": True}
    found = await search(papers, text="consensus", **body)
    assert (found["count"], found["facets"]["year"]["values"]) == (1, [{"value": 1985, "count": 1}])


async def test_groups_and_explanations(papers):
    found = await search(papers, text="consensus", group_by="year", k=9)
    assert {group["value"] for group in found["groups"]} == {2014, 2001, 1985, 2020}
    explained = (await search(papers, text="consensus", explain=True))["explain"]
    assert (explained["plan"], explained["rows"], explained["corrected"]) == ("text", 6, {})


async def test_settings_hold_for_what_is_there_and_what_comes(papers):
    text = {"fields": {"title": {"language": "none"}}, "others": False}
    assert (await papers("PUT", "/v1/doc/papers", {"text": text})).status == 200
    with trio.fail_after(PATIENCE_SECS):
        while ids(await search(papers, text="parliaments", typos="off")):  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert ids(await search(papers, text="consensus")) == ["c"]
    await papers("PUT", "/v1/doc/papers/g", {"title": "consensus", "body": "raft"})
    assert set(ids(await search(papers, text="consensus"))) == {"c", "g"}
    assert ids(await search(papers, text="raft")) == ["a"]


async def test_an_explanation_says_how_many_words_were_too_many(call: Caller):
    words = " ".join(f"w{n}x" for n in range(300))
    await call("PUT", "/v1/doc/long/a", {"body": words})
    assert (await search(call, "long", text=words, explain=True))["explain"]["ignored"] == 44
    assert (await search(call, "long", text="w7x", explain=True))["explain"]["ignored"] == 0


async def test_a_collection_without_documents_has_none(call: Caller):
    found = await search(call, "none", text="a", count=True, facets=["b"], explain=True)
    assert (found["hits"], found["count"], found["exhausted"]) == ([], 0, True)
    refused(await call("POST", "/v1/doc/none/search", {"text": " "}), 400, "invalid_argument")
    await call("PUT", "/v1/doc/numbers/a", {"n": 1})
    assert ids(await search(call, "numbers", text="1", count=True)) == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, ["text"]),
        ({"text": 1}, 422, ["body.text"]),
        ({"text": ""}, 400, ["body.text"]),
        ({"text": "*"}, 400, ["body.text"]),
        ({"text": "-only"}, 400, ["body.text"]),
        ({"text": "x " * 10_000}, 400, ["body.text", "8,192"]),
        ({"text": "a", "k": 0}, 400, ["MAX_K"]),
        ({"text": "a", "offset": 10_001}, 400, ["body.offset"]),
        ({"text": "a", "match": "some"}, 422, ["all or any"]),
        ({"text": "a", "search_fields": {"a": 0}}, 400, ["body.text", "a"]),
        ({"text": "a", "search_fields": [""]}, 400, ["body.search_fields"]),
        ({"text": "a", "highlight": {"pre": "x" * 65}}, 400, ["body.highlight.pre"]),
        ({"text": "a", "highlight": {"tag": "em"}}, 422, ["body.highlight.tag"]),
        ({"text": "a", "group_by": "a", "offset": 1}, 400, ["body.group_by"]),
        ({"query": "a", "text": "a"}, 422, ["query", "unknown field"]),
        ({"text": "a", "filter": {}, "filters": {}}, 400, ["one of them"]),
        ({"text": "a", "sort": "year"}, 422, ["sort"]),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_says_why(papers, body, status, words):
    answer = await papers("POST", "/v1/doc/papers/search", body)
    refused(answer, status, "invalid_argument", *words)
