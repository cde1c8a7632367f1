"""The results at a million vectors as they stand in docs/performance.md."""

from collections.abc import Iterator
from typing import Any

from bench.load.markdown import Result, about, columns, number

MB = 1e6
RECALLS = ("0.90", "0.95", "0.99")
LOADED = {
    "rows_per_s": "rows/s answered",
    "indexed_per_s": "rows/s, indexing included",
    "cpu_us": "server CPU, us/row",
    "batch_max_ms": "slowest batch of 256, ms",
    "refused": "batches sent again",
    "search_p50_ms": "search meanwhile, p50 ms",
    "search_p99_ms": "search meanwhile, p99 ms",
    "not_found": "newest rows not found",
    "recall_meanwhile": "recall@10 meanwhile",
    "tail_max": "longest tail, rows",
    "anonymous_max": "most own memory, MB",
}
OPENED = {
    "ready_ms": "ready, ms",
    "ready_cpu_ms": "CPU ms until then",
    "answered_ms": "first search, ms",
    "compiled_ms": "compiled code loaded, ms",
    "recall": "recall@10",
    "open_anonymous": "own memory, MB",
    "open_mapped": "mapped memory, MB",
    "disk_each": "disk bytes/row",
}


def parts(results: Result) -> Iterator[tuple[str, str]]:
    """Names of places on the page and what stands there, for the parts that were measured."""
    yield "scale goals", _goals(results)
    if "search" in results:
        found = results["search"]
        yield "scale about", _about(found)
        yield "scale search", _search(found)
        yield "scale cost", _cost(found)
        yield "scale cold", _cold(found)
        yield "scale missing", _missing(found)
    servers = {name: part for name, part in results.items() if name.startswith("server ")}
    if servers:
        yield "scale load", _servers(servers, ("load",), LOADED)
        yield "scale open", _servers(servers, ("killed", "stopped"), OPENED)
        yield "scale filters", _filters(servers)


def _about(found: Result) -> str:
    versions = dict.fromkeys(facts["version"] for facts in found["facts"].values())
    servers = {name: {"version": each} for name, _, each in (v.partition(" ") for v in versions)}
    return f"{found['rows']:,} vectors. " + about({"about": found["about"], "servers": servers})


def _goals(results: Result) -> str:
    rows = [
        (
            goal["what"],
            f"{part['rows']:,}",
            goal["wanted"].replace(">=", "\u2265").replace("<=", "\u2264"),
            "-" if goal["measured"] is None else number(goal["measured"]),
            goal["verdict"],
        )
        for part in results.values()
        for goal in part["goals"]
    ]
    heads = ["| | vectors | goal | measured | |", "|---|---:|---:|---:|---|"]
    return "\n".join([*heads, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _medians(found: Result) -> dict[tuple[str, str], dict[str, float]]:
    return {(each["group"], each["target"]): each["metrics"] for each in found["medians"]}


def _search(found: Result) -> str:
    medians = _medians(found)
    rows = []
    for name in found["facts"]:
        cells = []
        for wanted in RECALLS:
            qps = medians.get((f"recall {wanted}", name), {}).get("qps")
            cells.append("-" if qps is None else number(qps))
        single = medians.get(("one query at 0.95", name), {}).get("single_us")
        cells.append("-" if single is None else number(single))
        rows.append((name, *cells))
    heads = ("", *(f"QPS at {wanted}" for wanted in RECALLS), "one query at 0.95, us")
    return columns(heads, rows)


def _cost(found: Result) -> str:
    rows = [
        (
            name,
            facts["settings"],
            number(facts["build_s"]),
            number(facts["anonymous"] / MB),
            number(facts["resident"] / MB),
            number(facts["disk_bytes_each"]),
        )
        for name, facts in found["facts"].items()
    ]
    heads = ("", "built with", "build, CPU s", "own memory, MB", "resident, MB", "disk bytes/row")
    return columns(heads, rows)


def _cold(found: Result) -> str:
    rows = [
        (
            target,
            number(metrics["cold_p50_ms"]),
            number(metrics["cold_p95_ms"]),
            f"{metrics['cold_recall']:.3f}",
        )
        for (group, target), metrics in _medians(found).items()
        if group == "cold at 0.95"
    ]
    return columns(("a query, files not in memory", "p50 ms", "p95 ms", "recall@10"), rows)


def _missing(found: Result) -> str:
    said = [f"{name}: {why}." for name, why in found["missing"].items()]
    return ("Not among them: " + " ".join(said) if said else "All were measured.") + "\n"


def _servers(servers: Result, groups: tuple[str, ...], names: dict[str, str]) -> str:
    columns_: list[tuple[str, dict[str, Any]]] = []
    for part in servers.values():
        for (this, target), metrics in _medians(part).items():
            if this in groups:
                which = f", {this}" if len(groups) > 1 else ""
                columns_.append((f"{target}, {part['rows']:,} rows{which}", metrics))
    rows = []
    for name, head in names.items():
        scale = MB if "MB" in head else 1.0
        rows.append((head, *(_figure(name, metrics, scale) for _, metrics in columns_)))
    return columns(("", *(head for head, _ in columns_)), rows)


def _figure(name: str, metrics: dict[str, float], scale: float) -> str:
    value = metrics[name]
    return f"{value:.4f}" if name.startswith("recall") else number(value / scale)


def _filters(servers: Result) -> str:
    rows = []
    for part in servers.values():
        for (group, target), metrics in _medians(part).items():
            if group.startswith("filter") or group == "unfiltered":
                rows.append(
                    (
                        f"{target}, {group}",
                        f"{metrics['recall']:.4f}",
                        number(metrics["search_p50_ms"]),
                        number(metrics["search_cpu_us"]),
                    )
                )
    return columns(("", "recall@10", "p50 ms", "server CPU, us"), rows)
