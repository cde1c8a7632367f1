"""Postings of terms: a vocabulary, segments of rows, and the best rows of a query of terms."""
