"""Atomic batches over HTTP."""
