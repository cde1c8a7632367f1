"""What many programs share through keys: a rate, and what was computed once."""

import functools
import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

import msgspec

from kissvdb.client.blocking import net
from kissvdb.client.blocking.state import State
from kissvdb.client.results import Written
from kissvdb.errors import (
    InvalidArgument,
    KissError,
    OutcomeUnknown,
    RequestTimeout,
    RevisionMismatch,
    Unavailable,
)

LOOK_FIRST_SECS = 0.02
LOOK_SECS = 0.25
"""How often is looked whether another one has made it; less often with time."""
CONFLICTS_MAX = 20
"""So often in a row others may be first; then it is a refusal."""

_NO_SERVER = (Unavailable, OutcomeUnknown, RequestTimeout)

P = ParamSpec("P")
T = TypeVar("T")


class _Bucket(msgspec.Struct):
    tokens: float
    at_ms: float | None
    ttl_ms: int
    """At which time of the server there were so many; None: when it was written."""


class Limiter:
    """A token bucket in the key ``limit:<name>``: ``burst`` at once, ``per_sec`` in the long run.

    Never more than that, whoever asks: takers compare and set, and the time is the server's, which
    the answers to writes tell. What a program has taken is gone when it crashes; nothing is to be
    cleaned up: a bucket that is full again is a key that has expired.
    """

    def __init__(self, state: State, name: str, per_sec: float, burst: int) -> None:
        if not (per_sec > 0 and math.isfinite(per_sec) and burst >= 1):
            raise ValueError("limiter: per_sec is over 0, and burst is at least 1")
        self._state = state
        self._key = f"limit:{name}"
        self._per_ms = per_sec / 1000
        self._burst = burst
        self._ttl_ms = max(1000, math.ceil(burst / self._per_ms))
        self._bucket: _Bucket | None = None
        self._offset: int | None = None
        self._ahead_ms: float | None = None

    def acquire(self, count: int = 1, *, wait_secs: float | None = None) -> None:
        """Wait until there are so many, and take them. Raises RequestTimeout after ``wait_secs``,
        at once if that is known not to be enough."""
        end = None if wait_secs is None else net.monotonic() + wait_secs
        while wait := self.try_acquire(count):
            if end is not None and net.monotonic() + wait > end:
                raise RequestTimeout(f"{self._key}: the next {count} are there in {wait:.2f} s")
            net.sleep(wait)

    def try_acquire(self, count: int = 1) -> float:
        """Take so many: 0.0, or after how many seconds to ask again."""
        if not 1 <= count <= self._burst:
            raise ValueError(f"limiter: 1 to {self._burst} at once, not {count}")
        for _ in range(CONFLICTS_MAX):
            bucket = self._now()
            lacking = count - bucket.tokens
            knows = self._ahead_ms is not None
            if lacking > 0 and knows:
                return max(lacking / self._per_ms / 1000, 0.001)
            if lacking <= 0:
                bucket.tokens -= count
            if self._put(bucket) and lacking <= 0:
                return 0.0
        return LOOK_SECS

    def _now(self) -> _Bucket:
        """The bucket as it is by now: what came in since is in it. A time that is not known yet
        has not passed; the next write tells it."""
        former = self._bucket
        now_ms = None if self._ahead_ms is None else net.monotonic() * 1000 + self._ahead_ms
        if former is None:
            return _Bucket(float(self._burst), now_ms, self._ttl_ms)
        assert former.at_ms is not None
        if now_ms is None or now_ms < former.at_ms:
            now_ms = former.at_ms
        tokens = min(self._burst, former.tokens + (now_ms - former.at_ms) * self._per_ms)
        return _Bucket(tokens, now_ms, self._ttl_ms)

    def _put(self, bucket: _Bucket) -> bool:
        absent = 0 if self._offset is None else None
        value = msgspec.to_builtins(bucket)
        try:
            written = self._state.put(
                self._key,
                value,
                ttl_ms=bucket.ttl_ms,
                if_revision=absent,
                if_offset=self._offset,
            )
        except RevisionMismatch:
            self._look()
            return False
        written_ms = _written_ms(written, bucket.ttl_ms)
        # Never ahead of the server: it wrote before this was heard.
        self._ahead_ms = written_ms - net.monotonic() * 1000
        self._offset = written.offset
        if bucket.at_ms is None:
            bucket.at_ms = written_ms
        self._bucket = bucket
        return True

    def _look(self) -> None:
        item = self._state.get(self._key)
        if item is None:
            self._bucket = self._offset = None
            return
        try:
            bucket = msgspec.convert(item.value, _Bucket)
        except msgspec.ValidationError as error:
            said = f"{self._key}: somebody else's key, for it holds no limiter: {error}"
            raise InvalidArgument(said) from error
        if bucket.at_ms is None:
            bucket.at_ms = float((item.expires_at_ms or 0) - bucket.ttl_ms)
        if self._ahead_ms is not None:
            # A clock that stood while the machine slept: so late it is at least.
            self._ahead_ms = max(self._ahead_ms, bucket.at_ms - net.monotonic() * 1000)
        self._bucket, self._offset = bucket, item.offset


def _written_ms(written: Written, ttl_ms: int) -> float:
    return float((written.expires_at_ms or 0) - ttl_ms)


class Cache:
    """Values that are made once and kept for ``ttl_ms``, under ``cache:<name>:<key>``.

    The time is absolute: to be read makes nothing live longer. Of all who want the same at the
    same time, in whichever program, one makes it and the others wait for it. A maker that fails or
    is cancelled lets the next one try; when it dies, that is after ``making_ms``. One that takes
    longer than that may have company. Without a server everybody makes their own.
    """

    def __init__(self, state: State, name: str, ttl_ms: int, making_ms: int) -> None:
        self._state = state
        self._name = name
        self._ttl_ms = ttl_ms
        self._making_ms = making_ms

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """A function of arguments, and with results, that JSON can hold; results are always as
        JSON gives them back, lists for tuples."""

        @functools.wraps(function)
        def cached(*args: P.args, **kwargs: P.kwargs) -> T:
            def make() -> T:
                return function(*args, **kwargs)

            found: T = self.get(_digest(args, kwargs), make)
            return found

        return cached

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The value, or what ``make`` makes. Raises what it raises."""
        place = f"cache:{self._name}:{key}"
        pause = LOOK_FIRST_SECS
        while True:
            try:
                item = self._state.get(place)
                if item is None:
                    making = {"making": os.urandom(8).hex()}
                    marker = self._state.put(place, making, ttl_ms=self._making_ms, if_revision=0)
                    break
            except RevisionMismatch:
                continue
            except _NO_SERVER:
                return _plain(make())
            if not isinstance(item.value, dict) or not item.value.keys() & {"value", "making"}:
                raise InvalidArgument(f"{place}: somebody else's key, for it holds no cached value")
            if "value" in item.value:
                return item.value["value"]
            net.sleep(pause)
            pause = min(pause * 2, LOOK_SECS)
        return self._made(place, marker.offset, make)

    def forget(self, key: str) -> bool:
        """Make it anew the next time; whether there was one. ``key``: as of `get`."""
        return (self._state.delete(f"cache:{self._name}:{key}")).deleted

    def _made(self, place: str, marker: int, make: Callable[[], Any]) -> Any:
        try:
            value = _plain(make())
        except BaseException:
            self._give_up(place, marker)
            raise
        try:
            self._state.put(place, {"value": value}, ttl_ms=self._ttl_ms, if_offset=marker)
        except (RevisionMismatch, *_NO_SERVER):
            pass  # It took so long that another one makes it; or there is no server.
        except KissError:
            self._give_up(place, marker)
            raise
        return value

    def _give_up(self, place: str, marker: int) -> None:
        with net.shielded(1.0), suppress(KissError):
            self._state.delete(place, if_offset=marker)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _digest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    from hashlib import blake2b

    said = msgspec.json.encode([args, sorted(kwargs.items())])
    return blake2b(said, digest_size=16).hexdigest()
