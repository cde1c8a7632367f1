"""API keys over HTTP: issued, listed, rotated, revoked."""
