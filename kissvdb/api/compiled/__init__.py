"""Requests whose numbers compiled code reads, and whose answers it writes."""
