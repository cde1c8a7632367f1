"""API keys: their owner, their file, and the streams that end with them."""
