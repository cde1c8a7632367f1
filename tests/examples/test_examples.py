"""The examples do what they say: imported, against a server in a thread.

The embedder here counts words (see `tests.api.embedding_service`); `test_programs.py` runs the
programs with the local model.
"""

import importlib
import time
from pathlib import Path

import pytest

from kissvdb.client import Client
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.errors import KissError
from kissvdb.testing import serve
from tests.api.embedding_service import service
from tests.examples.model_endpoint import calls, endpoint, says
from tests.patience import PATIENCE_SECS

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def url():
    with service() as words:
        config = Config(
            server=Server(port=0),
            storage=Storage(memory=True),
            search=Search(compile=False),
            embedder=words.settings(),
        )
        with serve(config) as server:
            yield server.url


@pytest.fixture
def client(url):
    with Client(url) as made:
        yield made


@pytest.fixture
def example(monkeypatch):
    """An example, by its name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_session_slides_ends_and_never_comes_back(example, client):
    sessions = example("session_store").Sessions(client, idle_ms=60_000)
    id_ = sessions.begin("ana", theme="dark")
    assert sessions.seen(id_, theme="light") == {"user": "ana", "theme": "light"}
    others = [sessions.begin("ana"), sessions.begin("bo")]
    assert sessions.end_all("ana") == 2
    assert [sessions.seen(each) for each in (id_, *others)] == [None, None, {"user": "bo"}]
    assert sessions.seen("never begun", a=1) is None
    short = example("session_store").Sessions(client, idle_ms=50)
    id_ = short.begin("ana")
    eventually(lambda: client.state.get(f"session:{id_}") is None)
    assert short.seen(id_, half="alive") is None


def test_a_flag_is_known_everywhere_and_grows_by_percent(example, url, client):
    flags = example("feature_flags").Flags(client)
    with Client(url) as second:
        elsewhere = example("feature_flags").Flags(second)
        flags.set("search", True)
        eventually(lambda: elsewhere.is_on("search"))
        assert elsewhere.is_on("unknown", default=True)
        users = [f"user {number}" for number in range(400)]
        for percent in (0, 20, 30, 100):
            flags.set("checkout", percent)
            eventually(lambda wanted=percent: elsewhere.all().get("checkout") == wanted)
            on = {user for user in users if elsewhere.is_on("checkout", user)}
            assert abs(len(on) / 4 - percent) < 8
            if percent == 20:
                few = on
            if percent == 30:
                assert few < on
        client.state.delete("flag:search")
        eventually(lambda: not elsewhere.is_on("search"))
        elsewhere.close()
    flags.close()


def test_a_cache_answers_the_same_question_and_no_other(example, client):
    cache = example("memory").SemanticCache(client, "answers", scope="a", threshold=0.9)
    other = example("memory").SemanticCache(client, "answers", scope="b", threshold=0.9)
    assert cache.get("how do I begin with it").outcome == "miss"
    assert cache.ask("how do I begin with it", str.upper) == "HOW DO I BEGIN WITH IT"
    assert cache.ask("begin with it how do I", lambda _: "asked") == "HOW DO I BEGIN WITH IT"
    assert other.ask("how do I begin with it", lambda _: "of b") == "of b"
    near = cache.get("how do I begin with that")
    assert (near.outcome, near.answer) == ("near", None)
    assert 0.75 < near.score < 0.9
    assert cache.get("something else entirely").outcome == "miss"
    tuned = cache.tune()
    assert [each["score"] for each in tuned] == sorted(
        (each["score"] for each in tuned), reverse=True
    )
    assert {each["outcome"] for each in tuned} == {"hit", "near", "miss"}
    assert cache.forget("how do I begin with it")
    assert not cache.forget("how do I begin with it")
    assert other.get("how do I begin with it").outcome == "hit"


def test_a_hit_does_not_make_an_entry_live_longer(example, client):
    cache = example("memory").SemanticCache(client, "short", ttl_ms=300)
    cache.put("the question", "the answer")
    ends = client.vector.get("short", cache._id("the question")).expires_at_ms
    assert cache.get("the question").answer == "the answer"
    assert client.vector.get("short", cache._id("the question")).expires_at_ms == ends
    eventually(lambda: cache.get("the question").outcome == "miss")


def test_memories_are_superseded_forgotten_and_told_as_they_were(example, client):
    memories = example("memory").Memories(client, "facts")
    first = memories.remember("ana takes the early train", about="ana")
    then = client.last_offset
    second = memories.remember("ana takes the late train", about="ana", supersedes=first)
    memories.remember("bo takes the bus", about="bo")
    assert [each.id for each in memories.recall("the train of ana", about="ana")] == [second]
    assert [each.text for each in memories.as_of(then)] == ["ana takes the early train"]
    third = memories.remember("ana walks", supersedes=first)
    with pytest.raises(KissError):
        memories.remember("of nobody", supersedes="nobody")
    assert memories.forget(first)
    assert not memories.forget(first)
    told = [(what, getattr(found, "id", found)) for _, what, found in memories.changed_since(then)]
    assert told[:2] == [("remembered", second), ("superseded", first)]
    assert told[-1] == ("forgotten", first)
    assert ("remembered", third) in told
    assert memories.changed_since(client.last_offset) == []


def test_an_agent_with_a_model_uses_its_memory(example, client):
    agent = example("agent")
    memories = example("memory").Memories(client, "of-the-agent")
    with endpoint(
        calls(("remember", {"text": "the key is under the mat"})),
        says("I will know that."),
        calls(("recall", {"query": "where is the key"}), ("dance", {}), ("forget", {})),
        says("Under the mat."),
    ) as (base_url, asked):
        llm = example("llm").Llm(base_url, "some-model", "k")
        assert agent.by_model(llm, memories, "The key is under the mat") == "I will know that."
        assert agent.by_model(llm, memories, "Where is the key?") == "Under the mat."
    results = [each["content"] for each in asked[-1]["messages"] if each["role"] == "tool"]
    assert "the key is under the mat" in results[0]
    assert results[1:] == ["there is no tool dance", "KeyError: 'id'"]
    assert asked[0]["model"] == "some-model"


def test_an_agent_without_a_model_says_so_and_follows_rules(example, client):
    agent = example("agent")
    memories = example("memory").Memories(client, "by-rules")
    assert agent.by_rules(memories, "where is the key") == "I remember nothing about that"
    assert agent.by_rules(memories, "remember that the key is under the mat") == "noted"
    told = agent.by_rules(memories, "remember that the key is under the old mat")
    assert told == "noted, instead of: the key is under the mat"
    found = agent.by_rules(memories, "where is the key")
    assert found == "you told me: the key is under the old mat"
    assert agent.by_rules(memories, "forget the key") == "forgotten: the key is under the old mat"
    assert agent.by_rules(memories, "where is the key") == "I remember nothing about that"


def test_questions_to_texts_with_and_without_a_model(example, client, tmp_path):
    path = tmp_path / "library.md"
    path.write_text("The library opens at nine. It closes at noon. Dogs wait outside the library.")
    assert example("ingest_pdf").ingest(client, path) == 1
    assert example("ingest_pdf").ingest(client, path) == 1
    chat = example("chat_rag_pdf")
    told = chat.answer(client, "when does the library open", None)
    assert "The library opens at nine. [library.md, page 1]" in told
    with endpoint(says("At nine [library.md].")) as (base_url, asked):
        llm = example("llm").Llm(base_url, "m")
        assert chat.answer(client, "when does it open", llm) == "At nine [library.md]."
    assert "opens at nine" in asked[0]["messages"][1]["content"]


def test_jobs_are_keys_that_say_how_far_they_are(example, client):
    board = example("job_board")
    board.work(client, "tested", 3, 0.0)
    value = client.state.get("job:tested").value
    assert (value["state"], value["done"], value["of"]) == ("done", 3, 3)
    server = board.pages(0)
    server.server_close()
