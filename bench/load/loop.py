"""Run one closed-loop load against one server and read off its figures."""

import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from bench.load.process import ROOT, Server

# What the load programs may take beyond their time, to connect and to end.
SPARE_SECS = 30


@attrs.frozen
class Workload:
    """What is sent to one server.

    ``requests`` are sent in turn; each does ``operations`` operations and gets ``replies``
    answers. An answer that holds ``bad`` is an error. ``framing``: http, resp, nats or grpc.
    """

    framing: str
    requests: Sequence[bytes]
    hello: bytes = b""
    operations: int = 1
    replies: int = 1
    bad: bytes = b""


@attrs.frozen
class Figures:
    """One measurement. Latencies are of whole requests; CPU is the server's, per operation."""

    operations_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float
    errors: int


def measure(
    loader: Sequence[str],
    server: Server,
    workload: Workload,
    directory: Path,
    *,
    connections: int,
    seconds: float,
    warmup_s: float = 0.2,
) -> Figures:
    """Load ``server`` for ``seconds`` after a warm-up that does not count.

    Raises subprocess.CalledProcessError when the load program fails; it has said why.
    """
    hello, requests = directory / "hello.bin", directory / "requests.bin"
    hello.write_bytes(workload.hello)
    requests.write_bytes(b"".join(struct.pack("<I", len(r)) + r for r in workload.requests))
    done = subprocess.run(
        [
            *loader,
            str(server.port),
            str(connections),
            str(int(warmup_s * 1000)),
            str(int(seconds * 1000)),
            workload.framing,
            str(hello),
            str(requests),
            str(workload.replies),
            workload.bad.decode(),
            ",".join(map(str, server.pids())),
        ],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=seconds + warmup_s + SPARE_SECS,
    )
    found = json.loads(done.stdout)
    operations = found["requests"] * workload.operations
    p50, p95, p99 = percentiles_ms(found["latency_ns"], (50, 95, 99))
    return Figures(
        operations / found["elapsed_s"],
        p50,
        p95,
        p99,
        found["cpu_s"] * 1e6 / max(1, operations),
        found["errors"],
    )


def percentiles_ms(buckets: Sequence[Sequence[int]], wanted: Sequence[float]) -> list[float]:
    """Percentiles in milliseconds of a histogram ``[[nanoseconds, count], ...]``, ascending.

    The nearest-rank percentile; not a number when the histogram is empty.
    """
    if not buckets:
        return [float("nan")] * len(wanted)
    values, counts = np.array(buckets, dtype=np.int64).T
    totals = np.cumsum(counts)
    ranks = np.ceil(np.array(wanted) / 100 * totals[-1])
    return [float(values[np.searchsorted(totals, rank)]) / 1e6 for rank in ranks]
