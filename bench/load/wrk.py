"""wrk as the load, where it is installed: a witness that is not ours."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.load.closed_loop import cpu_seconds
from bench.load.loop import SPARE_SECS, Figures
from bench.load.process import Server

# wrk builds a request in Lua or sends the bytes that it is given; these are given whole.
_SCRIPT = """\
local requests = {}
local place = 0
for line in io.lines("%s") do
  requests[#requests + 1] = line:gsub("\\\\n", "\\n"):gsub("\\\\r", "\\r")
end
request = function()
  place = place %% #requests + 1
  return requests[place]
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%%d,"microseconds":%%d,"errors":%%d,"p50":%%d,"p95":%%d,"p99":%%d}\\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
"""


def measure(
    wrk: str,
    server: Server,
    requests: Sequence[bytes],
    directory: Path,
    *,
    connections: int,
    seconds: int,
) -> Figures:
    """Load ``server`` with ``requests`` in turn for whole ``seconds``, from one thread.

    The CPU time includes that of wrk's own start and end, a few milliseconds.
    """
    lines, script = directory / "wrk.txt", directory / "wrk.lua"
    lines.write_bytes(
        b"".join(r.replace(b"\r", b"\\r").replace(b"\n", b"\\n") + b"\n" for r in requests)
    )
    script.write_text(_SCRIPT % lines)
    command = [wrk, "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(script)]
    pids = server.pids()
    before = cpu_seconds(pids)
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}/"],
        check=True,
        stdout=subprocess.PIPE,
        timeout=seconds + SPARE_SECS,
    )
    cpu_s = cpu_seconds(pids) - before
    found = json.loads(done.stdout.splitlines()[-1])
    return Figures(
        found["requests"] / (found["microseconds"] / 1e6),
        found["p50"] / 1e3,
        found["p95"] / 1e3,
        found["p99"] / 1e3,
        cpu_s * 1e6 / max(1, found["requests"]),
        found["errors"],
    )
