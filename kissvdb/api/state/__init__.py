"""Key-value state over HTTP."""
