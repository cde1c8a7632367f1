"""What a server counts, between two looks: rates, and quantiles of times."""

import math
from collections.abc import Iterator, Mapping

import attrs
from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
Samples = Mapping[str, Mapping[Labels, float]]

STARTED = "kissvdb_start_time_seconds"
REQUESTS = "kissvdb_http_requests_total"
SECONDS = "kissvdb_http_request_seconds"
FSYNC = "kissvdb_log_fsync_seconds"


def parsed(text: str) -> Samples:
    """The samples of a page of metrics, by name and labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@attrs.frozen
class Reading:
    """A page of metrics, the one before, and the seconds between them. ``before`` is empty for the
    first one and for the first after a restart, as everything counts from 0 again."""

    now: Samples
    before: Samples
    seconds: float

    @classmethod
    def of(cls, now: Samples, before: Samples, seconds: float) -> "Reading":
        """Of two pages. Their times are those of the one who asks."""
        restarted = before and before.get(STARTED) != now.get(STARTED)
        return cls(now, {} if restarted else before, max(seconds, 1e-6))

    @property
    def is_first(self) -> bool:
        """There is nothing to compare with."""
        return not self.before

    def value(self, name: str, **labels: str) -> float:
        """As it is; 0 where there is none."""
        return self.now.get(name, {}).get(tuple(sorted(labels.items())), 0.0)

    def labelled(self, name: str, label: str) -> dict[str, float]:
        """The values of a metric by one label."""
        return {dict(labels)[label]: value for labels, value in self.now.get(name, {}).items()}

    def rate(self, name: str, where: Labels = ()) -> float:
        """How much a second, over all that have these labels."""
        return sum(value for _, value in self._grown(name, where)) / self.seconds

    def quantiles(self, name: str, where: Labels, *wanted: float) -> list[float]:
        """Of a histogram's observations between the two: seconds each, NaN where there were none.
        Within a bucket they count as spread evenly, as Prometheus has it."""
        grown: dict[float, float] = {}
        for labels, value in self._grown(f"{name}_bucket", where):
            bound = float(dict(labels)["le"])
            grown[bound] = grown.get(bound, 0.0) + value
        bounds = sorted(grown)
        return [_quantile(bounds, grown, q) for q in wanted]

    def _grown(self, name: str, where: Labels) -> Iterator[tuple[Labels, float]]:
        if self.is_first:
            return
        before = self.before.get(name, {})
        for labels, value in self.now.get(name, {}).items():
            if set(where) <= set(labels):
                yield labels, value - before.get(labels, 0.0)

    def routes(self) -> list[str]:
        """Those that were asked since the start."""
        return sorted({dict(labels)["route"] for labels in self.now.get(REQUESTS, {})})


def _quantile(bounds: list[float], counts: Mapping[float, float], q: float) -> float:
    total = counts[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return math.nan
    low = below = 0.0
    for bound in bounds:
        if counts[bound] >= q * total:
            if math.isinf(bound):
                return low
            within = counts[bound] - below
            return low + (bound - low) * ((q * total - below) / within if within else 1.0)
        low, below = bound, counts[bound]
    return low


def per_second(value: float) -> str:
    """A rate in a few characters."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def millis(seconds: float) -> str:
    """A time in milliseconds; nothing where there was none."""
    if math.isnan(seconds):
        return "-"
    value = seconds * 1e3
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def size(count: float) -> str:
    """Bytes, in the unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
