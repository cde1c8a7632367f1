"""What the commands do that ask a running server, or look into a directory."""
