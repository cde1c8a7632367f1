"""Vectors and hits between JSON text and arrays, by compiled kernels."""
