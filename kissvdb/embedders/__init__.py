"""What makes vectors of texts: models in this process or beside it, and services."""
