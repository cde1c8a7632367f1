"""What this processor can do, and the one switch that makes the kernels pretend it cannot.

``KISSVDB_CPU=portable`` (read once, at import) compiles for the plainest processor of the family
and takes the portable form of every distance: the code that runs on ARM and on old x86, so that it
can be tested anywhere. ``KISSVDB_CPU=avx2`` compiles for x86 without AVX-512, where there is AVX2.
It must be set before numba compiles anything in the process. Numba keys its cache by the
processor's name and features, so the forms share no compiled code.
"""

import os
from typing import Any, Final

from llvmlite import binding
from numba.core import config

_FORM: Final = os.environ.get("KISSVDB_CPU", "native")

PORTABLE: Final = _FORM == "portable"

# AVX10 has what AVX-512 has.
_WIDE = ("avx512", "avx10", "evex512")


def _usable() -> dict[str, bool]:
    """What kernels may use of this processor, by the names of LLVM."""
    if PORTABLE:
        return {}
    found = dict(binding.get_host_cpu_features())
    if _FORM == "avx2" and found.get("avx2"):
        return {name: has and not name.startswith(_WIDE) for name, has in found.items()}
    return found


def _target(processor: str) -> None:
    """Have numba compile for a processor, with the features that are usable."""
    # Numba takes its target from the environment only. A name that is set there already stays, so
    # that another processor can be tried.
    os.environ.setdefault("NUMBA_CPU_NAME", processor)
    os.environ["NUMBA_CPU_FEATURES"] = ",".join(
        f"{'+' if has else '-'}{name}" for name, has in _USABLE.items()
    )
    reload_config: Any = config.reload_config
    reload_config()


_USABLE: Final = _usable()
if PORTABLE:
    _target("generic")
elif _FORM == "avx2" and _USABLE.get("avx2"):
    _target("haswell")

#: 512-bit vpdpbusd: sums of products of 64 unsigned and 64 signed bytes in one instruction.
VNNI: Final = bool(_USABLE.get("avx512vnni") and _USABLE.get("avx512bw"))

#: 256-bit vectors of bytes, where there is nothing better.
AVX2: Final = not VNNI and bool(_USABLE.get("avx2"))

#: float16 becomes float32 in one instruction.
F16C: Final = bool(_USABLE.get("f16c"))

#: 256-bit shuffles of bytes.
SHUFFLES: Final = bool(_USABLE.get("avx2"))
