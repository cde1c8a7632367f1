"""The model of vectors: collections, where they are kept, their upkeep and audits."""
