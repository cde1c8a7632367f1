"""Decisions: sync, deterministic, no I/O. Time and randomness are arguments."""
