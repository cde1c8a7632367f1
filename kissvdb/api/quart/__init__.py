"""The full binding: Quart-Trio, for Hypercorn."""
