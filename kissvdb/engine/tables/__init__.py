"""What a SELECT sees besides the user's own tables: keys, documents, vectors, events, searches.

Read-only virtual tables of SQLite, on the connections that read; all of one statement at one offset.
"""
