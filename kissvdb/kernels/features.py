"""What this processor can do, and the one switch that makes the kernels pretend it cannot.

``KISSVDB_CPU=portable`` (read once, at import) compiles for the plainest processor of the family
and takes the portable form of every distance: the code that runs on ARM and on old x86, so that it
can be tested anywhere. It must be set before numba compiles anything in the process. Numba keys its
cache by processor name, so the two forms never share compiled code.
"""

import os
from typing import Final

PORTABLE: Final = os.environ.get("KISSVDB_CPU", "native") == "portable"
if PORTABLE:
    os.environ["NUMBA_CPU_NAME"] = "generic"

import numba  # noqa: E402  numba reads the name of its target when it is imported
from llvmlite import binding  # noqa: E402

if PORTABLE:
    numba.config.reload_config()

_HOST_FEATURES: Final = {} if PORTABLE else dict(binding.get_host_cpu_features())

#: 512-bit vpdpbusd: sums of products of 64 unsigned and 64 signed bytes in one instruction.
VNNI: Final = bool(_HOST_FEATURES.get("avx512vnni") and _HOST_FEATURES.get("avx512bw"))
