"""How long a test waits for what must come."""

PATIENCE_SECS = 60.0
"""A bound for what hangs, never a measure of speed: a busy machine may need most of it. Shorter
than the 75 seconds after which a server leaves an idle connection."""
