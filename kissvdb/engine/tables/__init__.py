"""What a SELECT sees besides the user's own tables: keys, documents, vectors, events, searches.

Virtual tables of SQLite on the connections that read; all that a statement reads is at one offset.
"""
