"""Events: publishing them, and what a subscriber sees of every record."""
