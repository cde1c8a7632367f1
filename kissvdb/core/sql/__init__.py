"""SQL as commands and as changed rows: what is asked, what a key may touch, what a stream shows."""
