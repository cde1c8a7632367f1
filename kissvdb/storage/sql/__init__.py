"""The user's SQL database: its file, the rows that a transaction changed, and a replay of them."""
