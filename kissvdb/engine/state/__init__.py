"""The model of keys: its shards, their views and upkeep."""
