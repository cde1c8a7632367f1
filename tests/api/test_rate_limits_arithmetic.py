"""Buckets, callers and addresses, with a clock that stands still."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.api.access.buckets import Bucket
from kissvdb.api.access.limiting import Limiter
from kissvdb.api.access.peers import Peers, caller_of
from kissvdb.api.frame.http import Request
from kissvdb.config import Rate, Server
from kissvdb.core.quotas import KeyLimits
from kissvdb.errors import ConfigError, RateLimited


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


STEPS = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 5)), max_size=60)


@given(rate=st.integers(1, 50), burst=st.integers(1, 50), steps=STEPS)
def test_no_bucket_gives_more_than_its_burst_and_what_flowed_in(rate, burst, steps):
    bucket, now, given_out = Bucket(rate, burst, 0.0), 0.0, 0
    for pause, asked in steps:
        now += pause
        for _ in range(asked):
            if bucket.wait_secs(now) == 0:
                bucket.take(now)
                given_out += 1
        assert given_out <= burst + rate * now + 1e-6
    assert bucket.wait_secs(now + bucket.wait_secs(now)) == 0, "what it says one waits is enough"


def test_a_caller_is_let_in_as_often_as_the_bucket_says_and_told_when_to_come_back():
    clock = Clock()
    limiter = Limiter(Rate(requests_per_sec=2, requests_burst=4), clock)
    caller = limiter.caller("a", None)
    for left in (3, 2, 1, 0):
        caller.let_in(0)
        headers = dict(caller.headers())
        assert headers["ratelimit-policy"] == '"requests";q=4;w=2'
        assert headers["ratelimit"].startswith(f'"requests";r={left};t=')
        assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("4", str(left))
    with pytest.raises(RateLimited) as refused:
        caller.let_in(0)
    assert refused.value.retry_after_secs == 1
    assert dict(refused.value.headers)["ratelimit"] == '"requests";r=0;t=1'
    clock.now += 0.5
    caller.let_in(0)
    limiter.caller("b", None).let_in(0)


def test_one_large_body_goes_through_and_the_next_waits_until_it_is_paid():
    clock = Clock()
    caller = Limiter(Rate(body_bytes_per_sec=100), clock).caller("a", None)
    caller.let_in(1000)
    with pytest.raises(RateLimited, match="100 bytes of bodies a second: wait 10 s") as refused:
        caller.let_in(1)
    assert 'qu="content-bytes"' in dict(refused.value.headers)["ratelimit-policy"]
    caller.let_in(0)
    clock.now += 10
    caller.let_in(1)


def test_what_is_given_back_was_never_taken():
    caller = Limiter(Rate(requests_per_sec=1, body_bytes_per_sec=10), Clock()).caller("a", None)
    for _ in range(5):
        caller.let_in(10)
        caller.give_back(10)
    caller.let_in(10)
    with pytest.raises(RateLimited):
        caller.let_in(0)


def test_searches_and_streams_are_counted_while_they_last():
    caller = Limiter(Rate(searches_max=1, streams_max=2), Clock()).caller("a", None)
    caller.begin_search()
    with pytest.raises(RateLimited, match="1 searches are under way already"):
        caller.begin_search()
    caller.open_stream()
    caller.open_stream()
    with pytest.raises(RateLimited) as refused:
        caller.open_stream()
    policy = dict(refused.value.headers)["ratelimit-policy"]
    assert policy == '"streams";q=2;qu="concurrent-requests"'
    caller.end_search()
    caller.close_stream()
    caller.begin_search()
    caller.open_stream()


def test_a_keys_own_limits_win_also_when_they_lift_one():
    limiter = Limiter(Rate(requests_per_sec=1), Clock())
    free = limiter.caller("free", KeyLimits(requests_per_sec=0))
    for _ in range(100):
        free.let_in(0)
    tight = limiter.caller("tight", KeyLimits(requests_per_sec=5, requests_burst=2))
    tight.let_in(0)
    tight.let_in(0)
    with pytest.raises(RateLimited):
        tight.let_in(0)
    # Given other limits, it begins anew.
    limiter.caller("tight", KeyLimits(requests_per_sec=7)).let_in(0)


def test_callers_are_bounded_and_those_with_open_streams_go_last():
    limiter = Limiter(Rate(streams_max=1, callers_max=16), Clock())
    limiter.caller("open", None).open_stream()
    for n in range(1000):
        limiter.caller(str(n), None)
        assert len(limiter) <= 16
    with pytest.raises(RateLimited):
        limiter.caller("open", None).open_stream()


def test_wrong_keys_bar_an_address_for_a_while_and_no_other():
    clock = Clock()
    limiter = Limiter(Rate(failures_burst=3, failures_per_min=60, callers_max=16), clock)
    for _ in range(3):
        limiter.check_failures("a")
        limiter.note_failure("a")
    with pytest.raises(RateLimited, match="too many wrong API keys") as refused:
        limiter.check_failures("a")
    assert refused.value.retry_after_secs == 1
    limiter.check_failures("b")
    clock.now += 1
    limiter.check_failures("a")
    for n in range(100):
        limiter.note_failure(str(n))
    assert len(limiter.failures) == 16


async def test_a_body_that_comes_too_fast_is_read_more_slowly(autojump_clock):
    caller = Limiter(Rate(body_bytes_per_sec=100), trio.current_time).caller("a", None)

    async def body():
        for _ in range(10):
            yield bytes(100)

    began = trio.current_time()
    assert b"".join([blob async for blob in caller.paced(body())]) == bytes(1000)
    assert trio.current_time() - began == pytest.approx(9, abs=0.1)


def of(peer, forwarded=None):
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    return Request("GET", "/", peer=peer, headers=headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        # From anybody but a trusted proxy the header is only words.
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9:4711", "198.51.100.9"),
        # What the client wrote itself stands before what the proxy saw.
        ("10.0.0.1", "203.0.113.5, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, nonsense, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "[2001:db8::5]:443", "2001:db8::5"),
        ("fd00::1", "2001:0DB8:0::5", "2001:db8::5"),
        ("", None, "unknown"),
    ],
)
def test_whose_request_it_is(peer, forwarded, address):
    peers = Peers(("10.0.0.0/8", "fd00::1"))
    assert peers.address_of(of(peer, forwarded)) == address


def test_of_ipv6_a_network_of_64_bits_is_one_caller():
    assert caller_of("2001:db8:1:2:3:4:5:6") == caller_of("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert caller_of("2001:db8:1:3::9") != caller_of("2001:db8:1:2::9")
    assert caller_of("192.0.2.1") == "192.0.2.1"
    assert caller_of("unknown") == "unknown"


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "10.0.0.256", "::1/129"])
def test_a_network_that_is_none_is_refused_at_the_start(wrong):
    with pytest.raises(ConfigError, match=r"server.trusted_proxies"):
        Server(trusted_proxies=(wrong,))
