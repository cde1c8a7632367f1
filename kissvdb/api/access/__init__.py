"""Who may ask: keys, origins and names, at one place."""
