"""The rows of vector collections in files."""
