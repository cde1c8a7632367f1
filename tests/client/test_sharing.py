"""Leaders, rates, caches, topics: what they promise, also after a crash."""

import threading
import time

import pytest
import trio

from kissvdb import errors
from kissvdb.client import AsyncClient, Client, Config, Gap, LeaseLost
from kissvdb.testing import serve
from tests.client.test_chaos import Proxy
from tests.patience import PATIENCE_SECS


@pytest.fixture(scope="module")
def server():
    with serve() as running:
        yield running


@pytest.fixture
def url(server):
    return server.url


@pytest.fixture
def client(url):
    with Client(config=Config(url=url)) as found:
        yield found


def together(count, work):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_SECS)


def test_a_leader_stays_one_and_hands_over_at_the_end(client):
    put = {"op": "put", "key": "plan", "value": 1}
    with client.leader("planner", ttl_ms=600) as first:
        other = client.leader("planner", wait_secs=0.0)
        with pytest.raises(errors.RequestTimeout, match="another one leads"):
            other.__enter__()
        time.sleep(1.0)
        assert first.is_leading
        first.batch([put])
    with client.leader("planner", wait_secs=0.0) as second:
        assert second.token > first.token
        # The former one thinks it leads: what it says is refused.
        first._offset, first._until = 1, second._until
        with pytest.raises(LeaseLost):
            first.batch([{**put, "value": 2}])
        assert not first.is_leading
        with pytest.raises(errors.RevisionMismatch) as refused:
            second.batch([{**put, "if_revision": 9}])
        assert (type(refused.value), refused.value.operation) == (errors.RevisionMismatch, 0)
    assert client.state.get("plan").value == 1


def test_a_leader_without_a_network_steps_down_before_another_one_can_lead(server, client):
    proxy = Proxy(server.port, 1)
    proxy.calm.set()
    with Client(config=Config(url=proxy.url)) as cut_off, cut_off.leader("l", ttl_ms=900) as leader:
        assert leader.is_leading
        # What it says from now on arrives nowhere.
        while (kept := leader._beats._kept()) is not None:
            kept.stream.close()
        proxy.close()
        leader._beats.origin = Config(url="http://127.0.0.1:9").origin()
        with client.leader("l", ttl_ms=900, wait_secs=PATIENCE_SECS) as next_one:
            assert not leader.is_leading
            assert next_one.token > leader.token
            with pytest.raises(LeaseLost):
                leader.check()


def test_a_leader_whose_renewal_was_done_but_not_answered_stays_one(client):
    with client.leader("unanswered", ttl_ms=900) as leader:
        put, lost = leader._state.put, []

        def unanswered(*args, **named):
            lost.append(put(*args, **named))
            leader._state.put = put
            raise errors.RequestTimeout("no answer came in time")

        leader._state.put = unanswered
        time.sleep(1.5)
        assert lost
        assert leader.is_leading


async def test_a_leader_on_trio_who_is_cancelled_leaves_at_once(url):
    async with AsyncClient(url) as client:
        with trio.move_on_after(0.5) as scope:
            async with client.leader("cancelled", ttl_ms=60_000) as leader:
                assert leader.is_leading
                await trio.sleep_forever()
        assert scope.cancelled_caught
        with trio.fail_after(PATIENCE_SECS):
            async with client.leader("cancelled", wait_secs=0.0):
                pass


def test_a_rate_is_shared_and_never_exceeded(url):
    taken = []
    began = time.monotonic()

    def work(_):
        with Client(config=Config(url=url)) as client:
            limiter = client.limiter("api", per_sec=20, burst=5)
            while time.monotonic() - began < 1.0:
                if limiter.try_acquire() == 0.0:
                    taken.append(time.monotonic() - began)

    together(3, work)
    took = max(taken)
    assert 5 < len(taken) <= 5 + 20 * took + 1


def test_who_cannot_have_it_in_time_is_told_at_once(client):
    limiter = client.limiter("slow", per_sec=0.1, burst=2)
    limiter.acquire(2)
    with pytest.raises(errors.RequestTimeout, match="the next 1"):
        limiter.acquire(wait_secs=1.0)
    # Another program, which has not been told the server's time, sees the same bucket.
    assert 1.0 < client.limiter("slow", per_sec=0.1, burst=2).try_acquire() <= 10.0
    with pytest.raises(ValueError, match="1 to 2 at once"):
        limiter.acquire(3)
    assert client.state.get("limit:slow").expires_at_ms is not None


def test_a_clock_that_stood_while_the_machine_slept_keeps_nobody_out(client):
    slept, other = (client.limiter("sleep", per_sec=20, burst=1) for _ in range(2))
    slept.acquire()
    for clock, name in ((slept, "_ahead_ms"), (slept._bucket, "at_ms")):
        setattr(clock, name, getattr(clock, name) - 3_600_000)
    other.acquire()
    slept.acquire(wait_secs=1.0)


def test_a_value_that_cannot_be_kept_holds_nobody_up(client):
    cache = client.cache("deep", ttl_ms=60_000, making_ms=60_000)
    deep = []
    for _ in range(500):
        deep = [deep]
    for _ in range(2):
        with pytest.raises(errors.InvalidArgument):
            cache.get("k", lambda: deep)
    assert client.state.get("cache:deep:k") is None


def test_a_value_is_made_once_for_all_and_ends_absolutely(url):
    made, found = [], []

    def work(_):
        with Client(config=Config(url=url)) as client:

            @client.cache("squares", ttl_ms=700)
            def square(number, *, times=1):
                made.append(number)
                time.sleep(0.05)
                return {"square": number * number, "pair": (1, 2)}

            found.append(square(7, times=2))

    together(4, work)
    assert made == [7]
    assert found == [{"square": 49, "pair": [1, 2]}] * 4
    with Client(config=Config(url=url)) as client:
        cache = client.cache("squares", ttl_ms=300)
        began = time.monotonic()
        values = []
        while len(set(values)) < 2:
            values.append(cache.get("now", lambda: time.monotonic() - began))
            assert time.monotonic() - began < PATIENCE_SECS
        # To be read made it no younger.
        assert values[-1] - values[0] >= 0.29
        assert cache.forget("now")


def test_a_maker_that_fails_or_dies_lets_the_next_one_try(client):
    cache = client.cache("made", ttl_ms=60_000, making_ms=300)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 / 0)
    assert cache.get("a", lambda: 1) == 1
    with pytest.raises(errors.PayloadTooLarge):
        cache.get("big", lambda: "x" * 100_000)
    assert cache.get("big", lambda: "x") == "x"
    # As somebody who died leaves it.
    client.state.put("cache:made:b", {"making": "dead"}, ttl_ms=300)
    assert cache.get("b", lambda: 2) == 2


def test_without_a_server_everybody_makes_their_own():
    with Client(config=Config(url="http://127.0.0.1:9", retries=0)) as nobody:
        assert nobody.cache("x", ttl_ms=1000).get("k", lambda: (1,)) == [1]


async def test_a_cached_function_on_trio(url):
    made = []
    begun = trio.Event()
    async with AsyncClient(url) as client:

        @client.cache("slowly", ttl_ms=60_000)
        async def slowly(number):
            made.append(number)
            begun.set()
            if len(made) == 1:
                await trio.sleep_forever()
            return number

        async with trio.open_nursery() as tasks:
            tasks.start_soon(slowly, 1)
            await begun.wait()
            tasks.cancel_scope.cancel()
        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(slowly, 1)
    # One of the others made it, at once.
    assert made == [1, 1]


def test_a_topic_from_now_on_and_from_a_place(client):
    first = client.publish("orders.eu", {"n": 0})
    with client.subscribe("orders.eu") as live:
        client.publish("orders.us", {"n": 1})
        client.publish("orders.eu", {"n": 2})
        assert next(live).data == {"n": 2}
    with client.subscribe("orders.*", since=first) as late:
        events = [next(late), next(late)]
    assert not any(isinstance(event, Gap) for event in events)
    assert [(event.key, event.data["n"]) for event in events] == [
        ("topic:orders.us", 1),
        ("topic:orders.eu", 2),
    ]


def test_keys_of_others_are_not_taken_for_its_own(client):
    for key in ("cache:odd:k", "limit:odd", "queue:odd:job:1"):
        client.state.put(key, 5)
    with pytest.raises(errors.InvalidArgument, match="somebody else's key"):
        client.cache("odd", ttl_ms=1000).get("k", lambda: 1)
    with pytest.raises(errors.InvalidArgument, match="somebody else's key"):
        client.limiter("odd", per_sec=1).try_acquire()
    assert client.queue("odd").get() is None
