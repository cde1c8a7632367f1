"""Put the figures of bench/results into docs/performance.md.

Everything between <!-- begin NAME --> and <!-- end NAME --> there is made new. A bench that has
no results yet leaves its tables as they are.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load.markdown import Result, about, latency, number, one, table
from bench.load.process import ROOT
from bench.load.report import RESULTS
from bench.scale_parts import tables as scale_tables
from bench.vector_parts import tables as vector_tables

PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--check", action="store_true", help="change nothing; 1 if it would")
    arguments = command.parse_args()
    results = {}
    for name in ("writes", "sse", "sse_complete", "http", "vectors", "scale"):
        path = RESULTS / f"{name}.json"
        if path.exists():
            results[name] = json.loads(path.read_text())
        else:
            print(f"no {path.name} yet: its tables stay", file=sys.stderr)
    old = new = PAGE.read_text()
    for name, content in parts(results):
        new = replace(new, name, content)
    if not arguments.check:
        PAGE.write_text(new)
    return int(arguments.check and new != old)


def parts(results: Mapping[str, Result]) -> Iterable[tuple[str, str]]:
    """Names of parts of the page and what stands there."""
    for name, result in results.items():
        if name == "sse_complete":
            continue
        if name == "vectors":
            yield from vector_tables.parts(result)
            continue
        if name == "scale":
            yield from scale_tables.parts(result)
            continue
        rate = "delivered_per_s" if name == "sse" else "operations_per_s"
        yield f"{name} about", about(result)
        yield f"{name} rate", table(result, one(rate))
        yield f"{name} latency", table(result, latency)
        yield f"{name} cpu", table(result, one("cpu_us"))
    if "sse_complete" in results:
        yield "sse complete", complete(results["sse_complete"])
    if {"writes", "sse", "http"} <= results.keys():
        yield "goals", goals(results)


def replace(page: str, name: str, content: str) -> str:
    """The page with another content between the marks of a part. Raises KeyError without them."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    if begin not in page or end not in page:
        raise KeyError(f"{PAGE.name} has no marks for {name!r}")
    mark = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(mark, lambda _: begin + content + end, page, count=1, flags=re.DOTALL)


def complete(result: Result) -> str:
    """The verdict on completeness."""
    found, problems = result["found"], result["problems"]
    said = "; ".join(problems) if problems else "Nothing was lost, doubled or out of order."
    sizes = sorted({gap["to"] - gap["from"] + 1 for gap in found["gaps"]})
    return (
        f"Each client got {found['least']:,} to {found['most']:,} events; {found['gap_count']} "
        f"gaps of {sizes} events for {len(found['stalled'])} stalled clients; p50 "
        f"{result['p50_ms']:.1f} ms, p99 {result['p99_ms']:.1f} ms. {said}\n"
    )


def goals(results: Mapping[str, Result]) -> str:
    """What was aimed at and what was measured."""

    def ratio(bench: str, metric: str, group: str, clients: int, ours: str, peer: str) -> float:
        wanted = (metric, group, clients, ours, peer)
        for each in results[bench]["ratios"]:
            found = tuple(each[k] for k in ("metric", "group", "clients", "ours", "peer"))
            if found == wanted:
                return float(each["median"])
        return float("nan")

    def of_writes(group: str, clients: int, ours: str, peer: str) -> float:
        return ratio("writes", "operations_per_s", group, clients, ours, peer)

    best = [e for e in results["sse"]["medians"] if (e["group"], e["clients"]) == ("best", 1000)]
    delivered = {each["target"]: each["metrics"]["delivered_per_s"] for each in best}
    put, batch = "lane PUT", ("batch", 8, "lane events")
    stream = ("best", 1000, "lane", "nginx nchan")
    cpu = ratio("http", "cpu_us", "PUT", 64, "lane", "hypercorn")
    rows = [
        ("CPU of Hypercorn / lane, PUT, 64 connections", 20, 1 / cpu),
        ("durable PUT, 64 connections / redis SET", 0.4, of_writes("put", 64, put, "redis SET")),
        ("durable PUT / etcd, JSON gateway", 2.5, of_writes("put", 64, put, "etcd JSON")),
        ("durable PUT / etcd, gRPC", None, of_writes("put", 64, put, "etcd gRPC")),
        ("durable PUT / NATS JetStream", 5, of_writes("put", 64, put, "nats publish")),
        ("100 events a request / redis -P 100 SET", 1, of_writes(*batch, "redis -P 100 SET")),
        ("100 events a request / redis -P 100 XADD", None, of_writes(*batch, "redis -P 100 XADD")),
        (
            "GET, 64 connections / uvicorn",
            1,
            ratio("http", "operations_per_s", "GET", 64, "lane", "uvicorn"),
        ),
        ("deliveries a second to 1,000 clients", 600_000, delivered.get("lane", float("nan"))),
        ("deliveries / nchan", 3, ratio("sse", "delivered_per_s", *stream)),
        ("p99 of nchan / ours, each at its best", 1, 1 / ratio("sse", "p99_ms", *stream)),
    ]
    return goal_table(rows)


def goal_table(rows: Sequence[tuple[str, float | None, float]]) -> str:
    """Rows of what, at least how much, how much."""
    lines = ["| | at least | measured | |", "|---|---:|---:|---|"]
    for what, least, measured in rows:
        met = "" if least is None else "met" if measured >= least else "not met"
        wanted = "-" if least is None else number(least)
        lines.append(f"| {what} | {wanted} | {number(measured)} | {met} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
