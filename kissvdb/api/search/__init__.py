"""Search of texts over HTTP: the routes of the seed."""
