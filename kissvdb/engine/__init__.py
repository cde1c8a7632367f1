"""One file, one actor: each owns its data and talks through its mailbox."""
