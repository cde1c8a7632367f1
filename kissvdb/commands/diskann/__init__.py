"""``kissvdb diskann build | tune | status``: the graph on disk of a collection."""
