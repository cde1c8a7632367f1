"""What a collection is searched by: what may be said of an index, and changed of it later."""
