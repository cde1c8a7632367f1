"""What local embedders cost and find: ``scripts/bench embedders --data DIR --models minilm use``.

DIR holds ``meta.jsonl.gz`` (a description a line) and ``queries.jsonl`` (``text``,
``target_row``). The texts are the targets of the first queries and random others; a query counts by
the rank of its target among them. Run as the server runs them: in a process, batched.
"""

import argparse
import gzip
import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import trio

# Import from the root instead of from here: the script's directory is not a package of its own.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kissvdb.config import Embedder
from kissvdb.embedders.batching import BatchedEmbedder
from kissvdb.embedders.process import local_source

SEED = 1
RANKS_MAX = 100
LATENCIES = 100


def load(directory, texts_max, queries_max):
    """Texts, queries, and the place of each query's target among the texts."""
    with gzip.open(directory / "meta.jsonl.gz", "rt", encoding="utf-8") as file:
        descriptions = [json.loads(line)["description"] for line in file]
    with (directory / "queries.jsonl").open(encoding="utf-8") as file:
        queries = [json.loads(line) for line, _ in zip(file, range(queries_max), strict=False)]
    targets = [each["target_row"] for each in queries]
    others = sorted(set(range(len(descriptions))) - set(targets))
    rows = targets + random.Random(SEED).sample(others, texts_max - len(targets))
    return [descriptions[row] for row in rows], [each["text"] for each in queries]


def ranks(texts, queries):
    """The rank of each query's target, which is the text at the query's own place."""
    scores = queries @ texts.T
    own = scores[np.arange(len(queries)), np.arange(len(queries))]
    return (scores > own[:, None]).sum(1) + 1


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def measure(model, texts, queries):
    """A row of the table."""
    settings = Embedder(model=model)
    source = local_source(settings)
    embedder = BatchedEmbedder(model, settings, source)
    async with trio.open_nursery() as running:
        running.start_soon(embedder.run)
        await embedder.embed(["warm"], kind="query")
        before = cpu_seconds(source.pid)
        passages = await embedder.embed(texts, kind="passage")
        a_second = len(texts) / (cpu_seconds(source.pid) - before)
        found, latencies = [], []
        for query in queries:
            began = time.perf_counter()
            found.append(await embedder.embed([query], kind="query"))
            latencies.append(1000 * (time.perf_counter() - began))
        memory = peak_mib(source.pid)
        running.cancel_scope.cancel()
    rank = ranks(passages, np.concatenate(found))
    mrr = np.where(rank <= RANKS_MAX, 1 / rank, 0).mean()
    p50, p95 = np.quantile(latencies[:LATENCIES], [0.5, 0.95])
    return (
        f"| {model} | {embedder.dim} | {mrr:.3f} | {(rank <= 10).mean():.3f} | {a_second:.1f} "
        f"| {p50:.1f} | {p95:.1f} | {memory:.0f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--texts", type=int, default=2500)
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    texts, queries = load(options.data, options.texts, options.queries)
    print("| model | numbers | MRR | recall@10 | texts a CPU s | query p50 ms | p95 ms | MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for model in options.models:
        print(trio.run(measure, model, texts, queries), flush=True)


if __name__ == "__main__":
    main()
