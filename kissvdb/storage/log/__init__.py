"""The event log in segment files."""
