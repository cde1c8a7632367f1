"""The rows of a collection: rules, views, searches, and their upkeep."""
