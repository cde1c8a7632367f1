"""The OpenAPI description, its examples and the pages that show it."""
