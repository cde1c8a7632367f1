"""`kissvdb top`: a running server, live in a terminal (textual, by ``kissvdb[tui]``).

`readings` makes numbers of what the server counts, `feed` asks it and follows its stream, `rows`
say what stands in a table, and `app` draws them.
"""
