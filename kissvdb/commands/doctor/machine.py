"""The processor, the memory, the limits and the clock."""

import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from kissvdb.commands.doctor.findings import NOTE, OK, PROBLEM, Finding

SECTION = "machine"
FEATURES = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni"),
    *("asimd", "asimddp", "sve"),
)
"""Those that make distances fast, as /proc/cpuinfo spells them."""
FILES_LEAST = 4096
MEMORY_BYTES_LEAST = 512 * 1024**2
# The clock of a machine that lost its battery stands before any release.
YEAR_LEAST = 2025
CLOCK_SECONDS = 0.2
_CGROUP = Path("/sys/fs/cgroup")


def look(data_dir: Path | None) -> Iterator[Finding]:
    """``data_dir``: its newest file must not be from the future."""
    yield Finding(SECTION, "system", f"{platform.system()} {platform.release()}")
    yield Finding(SECTION, "libc", " ".join(platform.libc_ver()).strip() or None)
    yield from _processor()
    yield from _memory()
    yield from _limits()
    yield from _clock(data_dir)


def _processor() -> Iterator[Finding]:
    cpu = _cpu_lines()
    yield Finding(SECTION, "processor", cpu.get("model name") or platform.machine())
    usable = len(os.sched_getaffinity(0))
    cores = {"there": os.cpu_count(), "usable": usable, "cgroup": _cgroup_cores()}
    yield Finding(SECTION, "cores", cores)
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    found = [each for each in FEATURES if each in flags]
    plain = not found or (platform.machine() == "x86_64" and "avx2" not in flags)
    advice = "searches use plainer, slower code" if plain else ""
    yield Finding(SECTION, "features", found, NOTE if plain else OK, advice)


def _cpu_lines() -> dict[str, str]:
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8", "replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cgroup_cores() -> float | None:
    quota, _, period = _cgroup("cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.strip().isdigit() else None


def _cgroup(name: str) -> str:
    """A limit of cgroup v2: of this process's own group, or of the container's root."""
    try:
        own = Path("/proc/self/cgroup").read_text("utf-8").partition("::")[2].strip()
    except OSError:
        own = ""
    for place in (_CGROUP / own.strip("/") / name, _CGROUP / name):
        try:
            return place.read_text("utf-8").strip()
        except OSError:
            continue
    return ""


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max")
    bound = min(total, int(limit)) if limit.isdigit() else total
    value = {"there": _gib(total), "cgroup": _gib(int(limit)) if limit.isdigit() else None}
    small = bound < MEMORY_BYTES_LEAST
    advice = "little for vectors: the index of a collection is in memory" if small else ""
    yield Finding(SECTION, "memory", value, NOTE if small else OK, advice)


def _gib(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB"


def _limits() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= soft < FILES_LEAST
    advice = "connections and files share it: ulimit -n, or LimitNOFILE of a unit" if few else ""
    value = {"soft": _limit(soft), "hard": _limit(hard)}
    yield Finding(SECTION, "open files", value, NOTE if few else OK, advice)
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    yield Finding(SECTION, "locked memory", _limit(locked))


def _limit(value: int) -> int | str:
    return "unlimited" if value == resource.RLIM_INFINITY else value


def _clock(data_dir: Path | None) -> Iterator[Finding]:
    real, steady = time.time(), time.monotonic()
    time.sleep(CLOCK_SECONDS)
    drift_ms = abs((time.time() - real) - (time.monotonic() - steady)) * 1e3
    utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(real))
    if time.gmtime(real).tm_year < YEAR_LEAST:
        yield Finding(SECTION, "clock", utc, PROBLEM, "stands in the past: set it")
    elif drift_ms > CLOCK_SECONDS * 100:
        advice = "the time of day and the time that passes disagree: is it being set?"
        yield Finding(SECTION, "clock", utc, NOTE, advice)
    else:
        yield Finding(SECTION, "clock", utc)
    yield Finding(SECTION, "clock drift", f"{drift_ms:.3f} ms in {CLOCK_SECONDS} s")
    newest = 0.0 if data_dir is None else _newest(data_dir)
    if newest > real + 60:
        advice = "files of the data directory are from the future: the clock was set back"
        yield Finding(SECTION, "newest file", f"{newest - real:.0f} s ahead", PROBLEM, advice)


def _newest(data_dir: Path) -> float:
    places = (data_dir, data_dir / "log")
    found = [each.stat().st_mtime for place in places if place.is_dir() for each in place.iterdir()]
    return max(found, default=0.0)
