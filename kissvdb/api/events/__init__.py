"""User events and the stream over HTTP."""
