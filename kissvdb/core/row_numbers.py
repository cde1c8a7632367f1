"""Vectors as numbers in JSON text."""


def json_numbers(vector: bytes) -> bytes:
    """A JSON array of the float32 values in ``vector``, little-endian and finite.

    Each is the shortest decimal that gives the same float32 again: 0.1, not 0.10000000149.
    """
    # Imported here, since a server or a command that meets no vector starts faster without it.
    import numpy as np

    values = np.frombuffer(vector, "<f4")
    return b"[" + ",".join(map(str, values)).encode() + b"]"
