"""The only rooms that open files. Sync; the engine runs what can wait in threads."""
