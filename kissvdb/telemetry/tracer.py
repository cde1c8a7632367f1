"""Finished requests become spans. What sends them, `kissvdb.telemetry.otlp`, needs an extra."""

import random
from collections.abc import Mapping
from time import perf_counter, time_ns
from typing import Protocol

import attrs

from kissvdb.config import Telemetry
from kissvdb.errors import ConfigError
from kissvdb.telemetry import traceparent
from kissvdb.telemetry.parts import Mark, Parts, Place

Attributes = Mapping[str, str | int]


@attrs.frozen
class Finished:
    """A request that was answered. Times are nanoseconds since 1970."""

    name: str
    place: Place
    attributes: Attributes
    failed: bool
    began_ns: int
    ended_ns: int
    parts: tuple[tuple[str, int, int], ...]
    """Name, begin and end of each, in the order in which they began."""


class Sender(Protocol):
    """What takes finished requests along to where they are kept."""

    def send(self, finished: Finished) -> None:
        """Keep it for sending, or drop it when too much waits. Never blocks."""
        ...

    @property
    def lost(self) -> int:
        """Spans that were dropped, or that nobody took."""
        ...

    def close(self) -> None:
        """Send what waits, if it can be done soon. Blocks."""
        ...


class Tracer:
    """Gives requests their place in a trace, and hands those that are sampled to a sender."""

    def __init__(self, sender: Sender, sample_percent: int = 100) -> None:
        """``sample_percent``: of requests that come without a ``traceparent``."""
        self._sender = sender
        self._share = sample_percent / 100
        self._random = random.Random()

    @property
    def lost(self) -> int:
        return self._sender.lost

    def begin(self, parts: Parts, header: str | None) -> None:
        """Set the place of a request: below the one that asks it, below the span that its
        ``header`` names, or at the beginning of a trace."""
        span_id = self._random.getrandbits(64) or 1
        outer = None if parts.outer is None else parts.outer.place
        given = None if header is None else traceparent.read(header)
        if outer is not None:
            place = Place(outer.trace_id, span_id, outer.span_id, outer.sampled, False)
        elif given is not None:
            trace_id, parent_id, sampled = given
            place = Place(trace_id, span_id, parent_id, sampled, True)
        else:
            trace_id = self._random.getrandbits(128) or 1
            place = Place(trace_id, span_id, 0, self._random.random() < self._share, False)
        parts.place = place

    def end(self, parts: Parts, name: str, attributes: Attributes, *, failed: bool) -> None:
        """It was answered now."""
        place = parts.place
        if place is None or not place.sampled:
            return
        now = perf_counter()
        # The clock may be set while a request is answered: it is asked once, and the rest counted.
        now_ns = time_ns()

        def at(moment: float) -> int:
            return now_ns - round((now - moment) * 1e9)

        marks = sorted(parts.marks, key=_began)
        found = tuple([(part, at(began), at(ended)) for part, began, ended in marks])
        began_ns = at(parts.started)
        self._sender.send(Finished(name, place, attributes, failed, began_ns, now_ns, found))

    def close(self) -> None:
        """See `Sender.close`."""
        self._sender.close()


def open_tracer(settings: Telemetry) -> Tracer | None:
    """What the settings ask for, None if they ask for nothing.

    Raises ConfigError without the packages it needs.
    """
    if not settings.is_on:
        return None
    try:
        from kissvdb.telemetry.otlp import OtlpSender
    except ImportError as error:
        raise ConfigError(
            f"[telemetry] is on, but its packages are not there ({error}): "
            "pip install 'kissvdb[otel]', or set telemetry.enabled = false and no "
            "telemetry.otlp_endpoint"
        ) from error
    return Tracer(OtlpSender(settings.otlp_endpoint), settings.sample_percent)


def _began(mark: Mark) -> float:
    return mark[1]
