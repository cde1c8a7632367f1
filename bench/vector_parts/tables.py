"""The vector results as they stand in docs/performance.md."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.load.markdown import Result, about, columns, latency, number, one, table

Medians = Mapping[tuple[str, str, int], Mapping[str, float]]


def parts(results: Result) -> Iterator[tuple[str, str]]:
    """Names of places on the page and what stands there, for the parts that were measured."""
    yield "vectors about", _about(results)
    yield "vectors goals", _goals(results)
    if "kernels" in results:
        yield "vectors kernels", _kernels(results["kernels"])
    if "server" in results:
        yield "vectors server rate", table(results["server"], one("operations_per_s"))
        yield "vectors server latency", table(results["server"], latency)
        yield "vectors server cpu", table(results["server"], one("cpu_us"))
        yield "vectors server recall", _tuned(results["server"])
    if "load" in results:
        yield "vectors load", _load(results["load"])
    if "reopen" in results:
        yield "vectors reopen", _reopen(results["reopen"])
        yield "vectors memory", _memory(results)
    if "filters" in results:
        yield "vectors filters", _filters(results["filters"])
        yield "vectors kernel filters", _kernel_filters(results["filters"])
    if "churn" in results:
        yield "vectors churn", _churn(results["churn"])


def _about(results: Result) -> str:
    """The machine once, and the versions of all servers and libraries."""
    servers: dict[str, Any] = {}
    for part in results.values():
        servers |= part["servers"]
        servers |= {
            name: {"version": version} for name, version in part.get("libraries", {}).items()
        }
    first = next(iter(results.values()))
    dates = sorted({part["about"]["date"] for part in results.values()})
    machine = first["about"] | {"date": " to ".join(dict.fromkeys((dates[0], dates[-1])))}
    return about({"about": machine, "servers": servers})


def _goals(results: Result) -> str:
    rows = [
        (
            goal["what"],
            goal["wanted"].replace(">=", "\u2265").replace("<=", "\u2264"),
            "-" if goal["measured"] is None else number(goal["measured"]),
            goal["verdict"],
        )
        for part in results.values()
        for goal in part["goals"]
    ]
    heads = ["| | goal | measured | |", "|---|---:|---:|---|"]
    return "\n".join([*heads, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _medians(result: Result) -> Medians:
    return {(e["group"], e["target"], e["clients"]): e["metrics"] for e in result["medians"]}


def _kernels(result: Result) -> str:
    found = _medians(result)
    rows = []
    for suffix, ladders in result["ladders"].items():
        for name in ladders:
            cells = [
                found.get((f"{what}, {suffix}", name, 1), {}).get(metric)
                for what, metric in (
                    ("recall 0.95", "qps"),
                    ("recall 0.99", "qps"),
                    ("one query", "single_us"),
                    ("build", "build_s"),
                    ("build", "bytes_each"),
                )
            ]
            texts = ["-" if cell is None else number(cell) for cell in cells]
            rows.append((f"{name}, {suffix}", *texts))
    heads = ("", "QPS at 0.95", "QPS at 0.99", "one query, us", "build, s", "bytes/vector")
    return columns(heads, rows)


def _tuned(result: Result) -> str:
    said = [
        f"{name}: ef {each['ef']}, recall@10 {each['recall']:.3f}"
        for name, each in result["tuned"].items()
    ]
    return "; ".join(said) + ".\n"


def _load(result: Result) -> str:
    metrics = ("rows_per_s", "found_per_s", "indexed_per_s", "cpu_us")
    rows = [
        (name, *(number(each[metric]) for metric in metrics))
        for (_, name, _), each in _medians(result).items()
    ]
    heads = ("", "rows/s answered", "and found", "and indexed", "server CPU, us/row")
    return columns(heads, rows)


def _reopen(result: Result) -> str:
    metrics = ("ready_ms", "answered_ms", "compiled_ms")
    rows = [
        (name, *(number(each[metric]) for metric in metrics))
        for (group, name, _), each in _medians(result).items()
        if group == "open again"
    ]
    return columns(("ms", "ready", "first search", "compiled code loaded"), rows)


def _memory(results: Result) -> str:
    """The server's memory for a vector; beside it what the indexes say of themselves."""
    metrics = ("anon", "mapped", "reported", "disk")
    rows = [
        (f"server, {name}", *(number(each[metric]) for metric in metrics))
        for (group, name, _), each in _medians(results["reopen"]).items()
        if group == "memory"
    ]
    if "kernels" in results:
        sizes = {
            name: each["bytes_each"]
            for (_, name, _), each in _medians(results["kernels"]).items()
            if "bytes_each" in each
        }
        rows += [(f"index: {name}", "", "", number(size), "") for name, size in sizes.items()]
    return columns(("bytes for a vector", "own", "mapped", "reported", "on disk"), rows)


def _filters(result: Result) -> str:
    found = _medians(result)
    shares = {
        (each["ours"], each["clients"]): each["median"]
        for each in result["ratios"]
        if each["metric"] == "operations_per_s"
    }
    counts = sorted({clients for _, clients in shares})
    rows = []
    for name in dict.fromkeys(target for group, target, _ in found if group == "filtered"):
        each = found["filtered", name, counts[0]]
        cells = [f"{each['selectivity']:.2%}", f"{each['recall']:.3f}"]
        for clients in counts:
            cells.append(number(found["filtered", name, clients]["operations_per_s"]))
            cells.append(number(shares[name, clients]) if (name, clients) in shares else "")
        rows.append((name, *cells))
    heads = ["", "passes", "recall@10"]
    for clients in counts:
        heads += [f"searches/s, {clients} conn.", "of unfiltered"]
    return columns(heads, rows)


def _kernel_filters(result: Result) -> str:
    shares = {each["ours"]: each["median"] for each in result["ratios"] if each["metric"] == "qps"}
    rows = [
        (
            name,
            f"{each['recall']:.3f}",
            number(each["qps"]),
            number(shares[name]) if name in shares else "",
        )
        for (_, name, _), each in _medians(result).items()
        if "qps" in each
    ]
    return columns(("random subset", "recall@10", "QPS", "of unfiltered"), rows)


def _churn(result: Result) -> str:
    found = _medians(result)
    efs = list(dict.fromkeys(target for _, target, _ in found))
    rows = [
        (when, *(f"{found[when, ef, 1]['recall']:.4f}" for ef in efs))
        for when in dict.fromkeys(group for group, *_ in found)
    ]
    return columns(("recall@10", *efs), rows)
