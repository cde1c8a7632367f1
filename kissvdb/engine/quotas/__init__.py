"""What the scopes of API keys hold: counted once, and from then on with every write."""
