"""Codes of vectors, and the distances between them."""
