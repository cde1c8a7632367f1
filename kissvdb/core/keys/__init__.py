"""API keys: their secrets, what is known of each, and the rules for issuing and revoking them."""
