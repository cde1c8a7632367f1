"""The graph: built, grown and walked."""
