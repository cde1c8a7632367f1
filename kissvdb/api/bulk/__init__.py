"""POST /v1/bulk: many operations in one body."""
