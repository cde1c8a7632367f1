"""Rate limits: what one caller, a key or an address, may ask for in a time and at once.

``RateLimit-Policy`` and ``RateLimit`` follow draft-ietf-httpapi-ratelimit-headers-10; the three
headers of its drafts up to 06 (``RateLimit-Limit``, ``-Remaining``, ``-Reset``), which most clients
know, come beside them and speak of the first limit, or of the one that refuses.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from math import ceil

import trio

from kissvdb.api.access.buckets import Bucket
from kissvdb.api.frame.http import Headers, Request
from kissvdb.config import Rate
from kissvdb.core.quotas import KeyLimits
from kissvdb.errors import RateLimited

Clock = Callable[[], float]

_SPARED = 8
"""So many callers that have searches or streams open are passed over when one is to be forgotten;
beyond that the oldest goes, and what it has open counts for nobody."""
_NO_LIMITS = KeyLimits()


class Caller:
    """One key, or one address, and what it has left."""

    __slots__ = (
        "_bytes",
        "_now",
        "_requests",
        "_searches_max",
        "_streams_max",
        "limits",
        "searches",
        "streams",
    )

    def __init__(self, rate: Rate, limits: KeyLimits, now: Clock) -> None:
        """``limits`` win over ``rate``."""
        self.limits = limits
        self.searches = 0
        self.streams = 0
        self._now = now
        self._requests = _bucket(
            _either(limits.requests_per_sec, rate.requests_per_sec),
            _either(limits.requests_burst, rate.requests_burst),
            now(),
        )
        self._bytes = _bucket(
            _either(limits.body_bytes_per_sec, rate.body_bytes_per_sec),
            _either(limits.body_bytes_burst, rate.body_bytes_burst),
            now(),
        )
        self._searches_max = _either(limits.searches_max, rate.searches_max)
        self._streams_max = _either(limits.streams_max, rate.streams_max)

    def let_in(self, body_bytes: int) -> None:
        """Count a request. Raises RateLimited, and then nothing is counted."""
        now = self._now()
        requests, bytes_ = self._requests, self._bytes
        if requests is not None:
            wait = requests.wait_secs(now)
            if wait > 0:
                raise self._refusal("requests", f"{requests.rate:g} requests a second", wait)
        if bytes_ is not None:
            # One body may be more than the burst: it puts the bucket into debt.
            wait = bytes_.wait_secs(now) if body_bytes else 0.0
            if wait > 0:
                raise self._refusal("bytes", f"{bytes_.rate:g} bytes of bodies a second", wait)
            bytes_.take(now, body_bytes)
        if requests is not None:
            requests.take(now)

    def give_back(self, body_bytes: int) -> None:
        """As if it had not asked: it will be let in again for the same request."""
        now = self._now()
        if self._requests is not None:
            self._requests.take(now, -1.0)
        if self._bytes is not None:
            self._bytes.take(now, -body_bytes)

    def begin_search(self) -> None:
        """Until `end_search`. Raises RateLimited."""
        if 0 < self._searches_max <= self.searches:
            raise self._crowded("searches", self._searches_max)
        self.searches += 1

    def end_search(self) -> None:
        self.searches -= 1

    def open_stream(self) -> None:
        """Until `close_stream`. Raises RateLimited."""
        if 0 < self._streams_max <= self.streams:
            raise self._crowded("streams", self._streams_max)
        self.streams += 1

    def close_stream(self) -> None:
        self.streams -= 1

    @property
    def busy(self) -> bool:
        return self.searches > 0 or self.streams > 0

    async def paced(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A body that is read while it comes, no faster than the caller may send."""
        bucket = self._bytes
        try:
            async for blob in body:
                if bucket is not None:
                    bucket.take(self._now(), len(blob))
                yield blob
                if bucket is not None:
                    await trio.sleep(bucket.wait_secs(self._now()))
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()

    def headers(self) -> Headers:
        """What every answer says: what is left."""
        now = self._now()
        known = [
            (name, bucket)
            for name, bucket in (("requests", self._requests), ("bytes", self._bytes))
            if bucket is not None
        ]
        if not known:
            return ()
        items = [_item(name, _left(bucket, now), _reset(bucket, now)) for name, bucket in known]
        first = known[0][1]
        return (
            ("ratelimit-policy", ", ".join(_policy(name, bucket) for name, bucket in known)),
            ("ratelimit", ", ".join(items)),
            *_older(int(first.burst), _left(first, now), _reset(first, now)),
        )

    def _refusal(self, name: str, what: str, wait_secs: float) -> RateLimited:
        bucket = self._requests if name == "requests" else self._bytes
        assert bucket is not None
        secs = max(1, ceil(wait_secs))
        return RateLimited(
            f"over {what}: wait {secs} s, or ask for a higher limit",
            retry_after_secs=secs,
            headers=(
                ("ratelimit-policy", _policy(name, bucket)),
                ("ratelimit", _item(name, 0, secs)),
                *_older(int(bucket.burst), 0, secs),
            ),
        )

    def _crowded(self, name: str, most: int) -> RateLimited:
        return RateLimited(
            f"{most} {name} are under way already: wait for one to end, or ask for a higher limit",
            retry_after_secs=1,
            headers=(
                ("ratelimit-policy", f'"{name}";q={most};qu="concurrent-requests"'),
                ("ratelimit", f'"{name}";r=0;t=1'),
                *_older(most, 0, 1),
            ),
        )


class Limiter:
    """All callers. Bounded: those not seen for longest are forgotten, and begin anew."""

    def __init__(self, rate: Rate, now: Clock = time.monotonic) -> None:
        self._rate = rate
        self._now = now
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self.failures: OrderedDict[str, Bucket] = OrderedDict()
        """By address, of who sent wrong keys lately: empty, nobody need be looked for."""
        self.limits_all = bool(
            rate.requests_per_sec
            or rate.body_bytes_per_sec
            or rate.searches_max
            or rate.streams_max
        )
        """Whether also those without limits of their own are limited."""

    def caller(self, name: str, limits: KeyLimits | None) -> Caller:
        """Who is called so: a key's id, or the address of one who needs none."""
        limits = _NO_LIMITS if limits is None else limits
        callers = self._callers
        found = callers.get(name)
        if found is None or found.limits != limits:
            # What was begun under former limits ends with the former caller.
            found = callers[name] = Caller(self._rate, limits, self._now)
            self._forget()
        callers.move_to_end(name)
        return found

    def _forget(self) -> None:
        callers = self._callers
        for _ in range(_SPARED):
            if len(callers) <= self._rate.callers_max:
                return
            name, oldest = next(iter(callers.items()))
            if not oldest.busy:
                del callers[name]
            else:
                callers.move_to_end(name)
        if len(callers) > self._rate.callers_max:
            callers.popitem(last=False)

    def __len__(self) -> int:
        return len(self._callers)

    # Wrong keys

    def check_failures(self, caller: str) -> None:
        """Raises RateLimited for an address that sent too many wrong keys, before its next key is
        looked at: a guess that is right must not be told from others. Other addresses are not
        touched."""
        bucket = self.failures.get(caller)
        if bucket is None:
            return
        wait = bucket.wait_secs(self._now())
        if wait > 0:
            secs = max(1, ceil(wait))
            raise RateLimited(
                f"too many wrong API keys came from this address: wait {secs} s",
                retry_after_secs=secs,
            )

    def note_failure(self, caller: str) -> None:
        """A wrong key came from there."""
        rate, failures = self._rate, self.failures
        if not rate.failures_burst:
            return
        now = self._now()
        bucket = failures.get(caller)
        if bucket is None:
            bucket = Bucket(rate.failures_per_min / 60, rate.failures_burst, now)
            failures[caller] = bucket
            # The oldest have most likely filled up again.
            while len(failures) > rate.callers_max:
                failures.popitem(last=False)
        failures.move_to_end(caller)
        bucket.take(now)


def carries_key(request: Request) -> bool:
    """Whether a request has something that could be a key: one without is no guess."""
    headers = request.headers
    return "authorization" in headers or "x-api-key" in headers or "api_key=" in request.query


def _either(own: int | None, default: int) -> int:
    return default if own is None else own


def _bucket(per_sec: int, burst: int, now: float) -> Bucket | None:
    return Bucket(per_sec, burst or per_sec, now) if per_sec else None


def _left(bucket: Bucket, now: float) -> int:
    return max(0, int(bucket.left(now)))


def _reset(bucket: Bucket, now: float) -> int:
    """Seconds until all of it is there, or, where there is nothing, until there is something."""
    wanted = bucket.burst if bucket.left(now) >= 1 else 1.0
    return ceil(bucket.wait_secs(now, wanted))


def _policy(name: str, bucket: Bucket) -> str:
    unit = ';qu="content-bytes"' if name == "bytes" else ""
    return f'"{name}";q={int(bucket.burst)}{unit};w={bucket.window_secs()}'


def _item(name: str, left: int, reset_secs: int) -> str:
    return f'"{name}";r={left};t={reset_secs}'


def _older(limit: int, left: int, reset_secs: int) -> Headers:
    return (
        ("ratelimit-limit", str(limit)),
        ("ratelimit-remaining", str(left)),
        ("ratelimit-reset", str(reset_secs)),
    )
