"""Numba and numpy kernels: arrays in, arrays out; nogil, cached, seeded; no classes, no I/O."""
