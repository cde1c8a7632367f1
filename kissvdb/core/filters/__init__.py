"""Filters on metadata: what they may say, as a tree, and what they mean."""
