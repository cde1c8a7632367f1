"""What rows are made of: their arrays, ids, checksums and tombstones, and what a collection is."""
