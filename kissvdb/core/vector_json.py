"""Vectors as numbers in JSON text."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DIGITS_MIN, _DIGITS_MAX = 6, 9
"""Every decimal of 6 digits survives a float32, and 9 digits tell every float32 apart."""
_ONE_BY_ONE_MAX = 64
"""So few numbers print faster one by one."""
_EXACT_POWER_MAX = 22
"""Powers of ten up to this one are exact in a double."""


def json_numbers(vector: "bytes | npt.NDArray[np.float32]") -> bytes:
    """A JSON array of the float32 values in ``vector``, little-endian and finite.

    Each is the shortest decimal that gives the same float32 again: 0.1, not 0.10000000149.
    """
    # Imported here, since a server or a command that meets no vector starts faster without it.
    import numpy as np

    values = np.frombuffer(vector, "<f4") if isinstance(vector, bytes) else vector
    if values.size <= _ONE_BY_ONE_MAX:
        return b"[%b]" % ",".join(map(str, values.ravel())).encode()
    return msgspec.json.encode(_shortest(values).tolist())


def _shortest(values: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float64]":
    """The doubles whose own shortest decimals are those of the float32 ``values``, any shape.

    Rounds to ever more digits until the float32 comes back. A number of digits divided by an
    exact power of ten is the double nearest to that decimal, so it is printed as that decimal.
    """
    import numpy as np

    wide = values.astype(np.float64).ravel()
    narrow = values.ravel()
    size = np.abs(wide)
    exponent = np.zeros(wide.shape, np.int64)
    some = size > 0
    exponent[some] = np.floor(np.log10(size[some]))
    powers = 10.0 ** np.arange(_EXACT_POWER_MAX + 1)
    left = np.flatnonzero(some)
    for digits in range(_DIGITS_MIN, _DIGITS_MAX + 1):
        places = digits - 1 - exponent[left]
        usable = (places >= 0) & (places <= _EXACT_POWER_MAX)
        scale = powers[np.where(usable, places, 0)]
        rounded = np.rint(wide[left] * scale) / scale
        good = usable & (rounded.astype(np.float32) == narrow[left])
        wide[left[good]] = rounded[good]
        left = left[~good]
    for place in left.tolist():
        # Very small or large: numpy knows the shortest decimal, if slowly.
        wide[place] = float(str(narrow[place]))
    return wide.reshape(values.shape)
