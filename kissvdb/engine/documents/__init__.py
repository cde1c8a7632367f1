"""The model of documents: an index of every collection, over the keys of state."""
