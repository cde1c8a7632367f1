"""SQL over HTTP: queries, statements that write, and what tables there are."""
