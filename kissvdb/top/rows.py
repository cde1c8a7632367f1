"""What the tables show, as texts."""

import math
from collections.abc import Iterator

import msgspec

from kissvdb.client import Event, Gap
from kissvdb.top.readings import REQUESTS, SECONDS, Reading, millis, per_second, size

Row = tuple[str, ...]

ROUTES = ("route", "a second", "p50 ms", "p99 ms", "4xx", "5xx")
COLLECTIONS = ("collection", "of", "rows", "dead", "not indexed", "bytes", "recall", "upkeep")
ACTORS = ("actor or view", "waiting", "behind")
LINE_CHARS_MAX = 400


def routes(reading: Reading) -> Iterator[Row]:
    """What is asked, the busiest first."""
    found = []
    for route in reading.routes():
        where = (("route", route),)
        p50, p99 = reading.quantiles(SECONDS, where, 0.5, 0.99)
        refused, failed = (
            reading.value(REQUESTS, route=route, status=status) for status in ("4xx", "5xx")
        )
        counts = (f"{refused:,.0f}", f"{failed:,.0f}")
        rate = reading.rate(REQUESTS, where)
        found.append((rate, (route, per_second(rate), millis(p50), millis(p99), *counts)))
    found.sort(key=lambda each: (-each[0], each[1][0]))
    return (row for _, row in found)


def collections(reading: Reading) -> Iterator[Row]:
    """Of vectors, then of documents."""
    recall = reading.labelled("kissvdb_collection_recall", "collection")
    damaged = reading.labelled("kissvdb_collection_damaged", "collection")
    for kind, prefix, rows in (
        ("vectors", "kissvdb_collection", "kissvdb_collection_vectors"),
        ("documents", "kissvdb_documents", "kissvdb_documents"),
    ):
        of = {
            part: reading.labelled(f"{prefix}_{part}", "collection")
            for part in ("dead_rows", "tail_rows", "pending", "bytes", "upkeep_done")
        }
        for name, count in sorted(reading.labelled(rows, "collection").items()):
            behind = of["tail_rows"].get(name, 0.0) + of["pending"].get(name, 0.0)
            found = recall.get(name, math.nan) if kind == "vectors" else math.nan
            audit = "-" if math.isnan(found) else f"{found:.3f}"
            if kind == "vectors" and damaged.get(name):
                audit = "DAMAGED"
            yield (
                name,
                kind,
                f"{count:,.0f}",
                f"{of['dead_rows'].get(name, 0.0):,.0f}",
                f"{behind:,.0f}",
                size(of["bytes"].get(name, 0.0)),
                audit,
                f"{of['upkeep_done'].get(name, 0.0):,.0f}",
            )


def actors(reading: Reading) -> Iterator[Row]:
    """How much waits for whom, and how many offsets a view is behind the log."""
    last = reading.value("kissvdb_last_offset")
    applied = reading.labelled("kissvdb_view_applied_offset", "view")
    depths = reading.labelled("kissvdb_mailbox_depth", "actor")
    for name in sorted({*depths, *applied}):
        waiting = f"{depths[name]:,.0f}" if name in depths else "-"
        # Offsets are exact in a float up to 2^53 only; behind by a little is shown as 0 then.
        behind = f"{max(last - applied[name], 0):,.0f}" if name in applied else "-"
        yield name, waiting, behind


def event_line(event: Event | Gap) -> str:
    """An event of the log on one line, cut where it is long."""
    if isinstance(event, Gap):
        return f"gap: {event.from_offset} to {event.to_offset} will not come ({event.reason})"
    data = msgspec.json.encode(event.data).decode()
    parts = (str(event.offset or "-"), event.type, event.key or "", " ".join(event.tags), data)
    line = "  ".join(each for each in parts if each)
    return line if len(line) <= LINE_CHARS_MAX else f"{line[:LINE_CHARS_MAX]}..."
