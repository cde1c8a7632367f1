"""Locks and progress: what they promise, also after a crash."""

import threading
import time

import pytest

from kissvdb import errors
from kissvdb.client import Client, Config
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        yield running.url


@pytest.fixture
def client(url):
    with Client(config=Config(url=url)) as found:
        yield found


def test_one_holder_at_a_time_and_growing_tokens(url):
    inside, most, tokens = [], [], []

    def work():
        with Client(config=Config(url=url)) as client:
            for _ in range(3):
                with client.lock("shared") as lock:
                    inside.append(1)
                    most.append(len(inside))
                    tokens.append(lock.token)
                    inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_SECS)
    assert most == [1] * 9
    assert tokens == sorted(set(tokens))


def test_a_lock_whose_holder_died_is_free_when_its_time_is_over(client):
    dead = client.lock("dead", ttl_ms=300)
    first = dead.acquire()
    assert not client.lock("dead").try_acquire()
    with client.lock("dead", wait_secs=PATIENCE_SECS) as lock:
        assert lock.token > first
        # The former holder notices, and takes nothing away.
        with pytest.raises(errors.RevisionMismatch):
            dead.extend()
        assert not dead.release()
        assert client.state.get("lock:dead") is not None
    assert client.state.get("lock:dead") is None


def test_who_waits_too_long_is_told(client):
    other = client.lock("kept", wait_secs=0.0)
    with client.lock("kept") as kept:
        kept.extend()
        with pytest.raises(errors.RequestTimeout, match="somebody else"):
            other.acquire()


def test_progress_is_in_the_stream_and_ends_as_the_job_did(client):
    since = client.state.put("before", 1).offset
    with client.progress("job:7", of=3, ttl_ms=60_000) as job:
        job.advance(2, note="halfway")
        time.sleep(0.11)
        job.advance(1)
    assert client.state.get("job:7").value == {
        "state": "done",
        "done": 3,
        "of": 3,
        "note": "halfway",
    }
    with client.stream.events(since=since, key="job:7") as stream:
        seen = [next(stream).data["value"] for _ in range(3)]
    assert [each["done"] for each in seen] == [0, 3, 3]
    with pytest.raises(ZeroDivisionError), client.progress("job:8"):
        1 / 0  # noqa: B018
    assert client.state.get("job:8").value["state"] == "failed"
