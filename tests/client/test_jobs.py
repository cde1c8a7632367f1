"""A queue of jobs: at least once, once where it says so, and never by two at a time."""

import threading
import time

import pytest

from kissvdb import errors
from kissvdb.client import AsyncClient, Client, Config, LeaseLost
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


def test_each_job_is_done_once_by_many_workers(url, client):
    queue = client.queue("sums")
    for n in range(30):
        queue.put({"n": n})

    def work():
        with Client(config=Config(url=url)) as own:
            mine = own.queue("sums")
            while (job := mine.get()) is not None:
                done = {"op": "event", "type": "summed", "data": job.data["n"]}
                job.done([done])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_SECS)
    with client.stream.events(types=["summed"]) as stream:
        assert sorted(next(stream).data for _ in range(30)) == list(range(30))
    assert list(client.state.items("queue:sums:")) == []


def test_the_job_of_a_worker_that_died_is_anothers_and_no_longer_its_own(client):
    queue = client.queue("mail", lease_ms=300)
    queue.put("to ada")
    dead = queue.get()
    assert queue.get() is None
    with next(queue) as job:
        assert (job.data, job.tries) == ("to ada", 2)
        assert job.token > dead.token
        with pytest.raises(LeaseLost):
            dead.done([{"op": "put", "key": "sent", "value": 1}])
        with pytest.raises(LeaseLost):
            dead.extend()
        job.extend(60_000)
    assert client.state.get("sent") is None
    assert queue.get() is None


def test_a_job_that_fails_is_tried_later_and_at_last_a_dead_letter(client):
    queue = client.queue("hard", tries_max=2)
    queue.put({"x": 1}, id="one")
    assert queue.put({"x": 2}, id="one") == "one"
    with pytest.raises(ZeroDivisionError), queue.get():
        1 / 0  # noqa: B018
    # It waits for a second.
    assert queue.get() is None
    client.state.delete("queue:hard:lease:one")
    job = queue.get()
    assert (job.data, job.tries) == ({"x": 1}, 2)
    job.retry(delay_ms=0)
    assert queue.get() is None
    (letter,) = queue.dead()
    assert letter.value["error"] == "ZeroDivisionError: division by zero"
    queue.revive("one")
    assert list(queue.dead()) == []
    queue.get().bury("no such address")
    assert [each.value["error"] for each in queue.dead()] == ["no such address"]
    with pytest.raises(errors.NotFound):
        queue.revive("two")


def test_the_error_of_a_worker_is_told_when_the_server_is_gone():
    with serve() as running, Client(config=Config(url=running.url, timeout_secs=0.5)) as client:
        queue = client.queue("gone")
        queue.put(1)
        job = queue.get()
    with pytest.raises(ValueError, match="broken"), job:
        raise ValueError("broken")


def test_a_job_for_later_comes_later(client):
    queue = client.queue("later")
    began = time.monotonic()
    queue.put(1, delay_ms=300)
    assert queue.get() is None
    with next(queue):
        assert time.monotonic() - began >= 0.3


async def test_a_queue_on_trio(url):
    async with AsyncClient(url) as client:
        queue = client.queue("async")
        await queue.put(1)
        async for job in queue:
            async with job:
                await job.extend()
            break
        assert await queue.get() is None
