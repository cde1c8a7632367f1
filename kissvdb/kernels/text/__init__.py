"""Texts as arrays: tokens, postings, and the best rows of a query."""
