"""The state table in SQLite."""
