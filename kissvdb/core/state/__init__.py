"""Keys and their values: rules, the memtable, and keys that are the database's own."""
