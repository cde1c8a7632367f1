"""What this processor can do, and the one switch that makes the kernels pretend it cannot.

``KISSVDB_CPU=portable`` (read once, at import) compiles for the plainest processor of the family
and takes the portable form of every distance: the code that runs on ARM and on old x86, so that it
can be tested anywhere. It must be set before numba compiles anything in the process. Numba keys its
cache by processor name, so the two forms never share compiled code.
"""

import os
from typing import Any, Final

from llvmlite import binding
from numba.core import config

PORTABLE: Final = os.environ.get("KISSVDB_CPU", "native") == "portable"


def _target_plainest_processor() -> None:
    # Numba takes the name of its target from the environment only. One set there already stays, so
    # that a processor between the two can be tried.
    os.environ.setdefault("NUMBA_CPU_NAME", "generic")
    reload_config: Any = config.reload_config
    reload_config()


if PORTABLE:
    _target_plainest_processor()

_HOST_FEATURES: Final = {} if PORTABLE else dict(binding.get_host_cpu_features())

#: 512-bit vpdpbusd: sums of products of 64 unsigned and 64 signed bytes in one instruction.
VNNI: Final = bool(_HOST_FEATURES.get("avx512vnni") and _HOST_FEATURES.get("avx512bw"))

#: 256-bit vectors of bytes, where there is nothing better.
AVX2: Final = not VNNI and bool(_HOST_FEATURES.get("avx2"))

#: float16 becomes float32 in one instruction.
F16C: Final = bool(_HOST_FEATURES.get("f16c"))
