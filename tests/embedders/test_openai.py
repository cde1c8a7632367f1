"""The client of /v1/embeddings against a server on a socket that fails in every way it can."""

import logging

import attrs
import numpy as np
import pytest
import trio

from kissvdb.config import Embedder
from kissvdb.embedders.openai import RETRY_AFTER_SECS_MAX, OpenAISource, _seconds
from kissvdb.errors import EmbedderUnavailable
from tests.embedders.letters import DIM, counted
from tests.embedders.service import Service, answer, status

KEY = "sk-very-secret"
TEXTS = ["abc", "b", "ccc"]


@pytest.fixture
async def service(nursery):
    service = Service()
    await nursery.start(service.run)
    return service


@pytest.fixture
async def source(service):
    settings = Embedder(
        kind="openai", base_url=service.url, model="letters", dimensions=DIM, retries=2
    )
    source = OpenAISource("far", settings, KEY)
    yield source
    await source.aclose()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Tries come one after the other; how far apart is not looked at here."""
    monkeypatch.setattr("kissvdb.embedders.openai.BACK_OFF_SECS", 0.001)


async def test_it_asks_as_the_service_wants_to_be_asked(source, service):
    np.testing.assert_array_equal(await source.vectors(TEXTS, "passage"), counted(TEXTS))
    ((line, headers, body),) = service.requests
    assert line == "POST /v1/embeddings HTTP/1.1"
    assert headers["authorization"] == f"bearer {KEY}"
    assert body == {"model": "letters", "input": TEXTS, "encoding_format": "base64"}


async def test_a_query_may_have_another_name_and_words_before_it(service):
    settings = Embedder(
        kind="openai",
        base_url=service.url,
        model="m",
        query_model="m-query",
        query_prefix="q: ",
        passage_prefix="p: ",
        dimensions=DIM,
        send_dimensions=True,
    )
    source = OpenAISource("far", settings, "")
    await source.vectors(["a"], "query")
    await source.vectors(["a"], "passage")
    await source.aclose()
    asked = [(body["model"], body["input"], body["dimensions"]) for *_, body in service.requests]
    assert asked == [("m-query", ["q: a"], DIM), ("m", ["p: a"], DIM)]
    assert all("authorization" not in headers for _, headers, _ in service.requests)
    assert source.model != OpenAISource("far", attrs.evolve(settings, passage_prefix=""), "").model


@pytest.mark.parametrize("as_base64", [True, False])
async def test_vectors_are_put_in_the_order_of_the_texts(source, service, as_base64):
    service.script = [lambda texts: answer(counted(texts), [2, 0, 1], as_base64)]
    np.testing.assert_array_equal(await source.vectors(TEXTS, "query"), counted(TEXTS))


@pytest.mark.parametrize(
    "step", [status(429), status(500), status(503, "retry-after: 0.01"), "cut"]
)
async def test_what_may_go_well_later_is_tried_again(source, service, step):
    service.script = [step, step]
    np.testing.assert_array_equal(await source.vectors(TEXTS, "query"), counted(TEXTS))
    assert len(service.requests) == 3


async def test_so_many_tries_and_no_more(source, service):
    service.script = [status(500, text="out of cards")] * 3
    with pytest.raises(EmbedderUnavailable, match=r"far answers with HTTP status 500: out of car"):
        await source.vectors(TEXTS, "query")
    assert len(service.requests) == 3


async def test_a_refusal_is_not_tried_again_and_the_key_is_not_repeated(source, service, caplog):
    caplog.set_level(logging.DEBUG)
    service.script = [status(429, text=f"slow down, {KEY}"), status(401, text=f"wrong: {KEY}")]
    with pytest.raises(EmbedderUnavailable, match=r"status 401: wrong: \.\.\.") as caught:
        await source.vectors(TEXTS, "query")
    assert len(service.requests) == 2
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda texts: answer(counted(texts)[:, 1:]), "vectors of 25 numbers, where dim.* 26"),
        (lambda texts: answer(counted(texts[1:])), "2 vectors for 3 texts"),
        (lambda texts: answer(counted(texts), [0, 1, 1]), "3 vectors for 3 texts"),
        (status(200, text="{}"), "an answer that is none"),
        (status(200, text="<html>"), "an answer that is none"),
        (status(200, text='{"data":[{"index":0,"embedding":"%%%"}]}'), "an answer that is none"),
        (status(302, "location: http://127.0.0.1:1/"), "HTTP status 302"),
    ],
)
async def test_an_answer_that_is_none_has_a_reason(source, service, step, reason):
    service.script = [step]
    with pytest.raises(EmbedderUnavailable, match=reason):
        await source.vectors(TEXTS, "query")
    assert len(service.requests) == 1


async def test_nobody_there_is_a_reason(nursery):
    settings = Embedder(kind="openai", base_url="http://127.0.0.1:9/v1", dimensions=DIM, retries=1)
    source = OpenAISource("far", settings, "")
    with pytest.raises(EmbedderUnavailable, match=r"ConnectError.*\(2 tries\)"):
        await source.vectors(TEXTS, "query")
    await source.aclose()


async def test_a_service_that_hangs_is_left_and_can_be_asked_again(source, service):
    await source.vectors(TEXTS, "query")
    service.script = ["hang"]
    with trio.move_on_after(1) as scope:
        await source.vectors(TEXTS, "query")
    assert scope.cancelled_caught
    assert len(service.requests) == 2
    np.testing.assert_array_equal(await source.vectors(TEXTS, "query"), counted(TEXTS))


def test_a_key_that_is_not_set_is_named_by_its_variable():
    settings = Embedder(kind="openai", base_url="http://h/v1", key_variable="FAR_KEY", dimensions=8)
    with pytest.raises(EmbedderUnavailable, match="variable FAR_KEY, which was not set"):
        OpenAISource("far", settings, "").require()


@pytest.mark.parametrize("key", ["sk-\u00e9", "two keys", "a\nb"])
def test_a_key_that_can_be_none_is_not_sent_and_not_shown(key):
    settings = Embedder(kind="openai", base_url="http://h/v1", key_variable="FAR_KEY", dimensions=8)
    with pytest.raises(EmbedderUnavailable, match=r"FAR_KEY .* has no key") as caught:
        OpenAISource("far", settings, key).require()
    assert key not in caught.value.message
    OpenAISource("far", settings, " sk-1\n").require()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("soon", None),
        ("2", 2.0),
        ("-1", 0.0),
        ("1e9", RETRY_AFTER_SECS_MAX),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("nan", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(header, seconds):
    assert _seconds(header) == seconds
