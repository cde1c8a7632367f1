"""Full text: how texts become terms, the index of them, and what queries ask of it."""
