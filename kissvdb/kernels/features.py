"""What this processor can do, and the one switch that makes the kernels pretend it cannot.

``KISSVDB_CPU=portable`` (read once, at import) compiles for the plainest processor of the family
and takes the portable form of every distance: the code that runs on ARM and on old x86, so that it
can be tested anywhere. ``KISSVDB_CPU=avx2`` compiles for x86 without AVX-512, where there is AVX2.
It must be set before numba compiles anything in the process. Numba keys its cache by processor
name, so the forms never share compiled code.
"""

import os
from typing import Any, Final

from llvmlite import binding
from numba.core import config

_FORM: Final = os.environ.get("KISSVDB_CPU", "native")

PORTABLE: Final = _FORM == "portable"


def _host_features() -> dict[str, bool]:
    """What the processor has of what kernels may use; numba is told to compile for that."""
    found = dict(binding.get_host_cpu_features())
    if PORTABLE:
        _target("generic")
        return {}
    if _FORM == "avx2" and found.get("avx2"):
        found = {name: has and "avx512" not in name for name, has in found.items()}
        signs = ",".join(f"{'+' if has else '-'}{name}" for name, has in found.items())
        _target("haswell", signs)
    return found


def _target(processor: str, features: str = "") -> None:
    # Numba takes its target from the environment only. One set there already stays, so that
    # another processor can be tried.
    if "NUMBA_CPU_NAME" not in os.environ:
        os.environ |= {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    reload_config: Any = config.reload_config
    reload_config()


_HOST_FEATURES: Final = _host_features()

#: 512-bit vpdpbusd: sums of products of 64 unsigned and 64 signed bytes in one instruction.
VNNI: Final = bool(_HOST_FEATURES.get("avx512vnni") and _HOST_FEATURES.get("avx512bw"))

#: 256-bit vectors of bytes, where there is nothing better.
AVX2: Final = not VNNI and bool(_HOST_FEATURES.get("avx2"))

#: float16 becomes float32 in one instruction.
F16C: Final = bool(_HOST_FEATURES.get("f16c"))
