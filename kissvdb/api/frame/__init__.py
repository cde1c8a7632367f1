"""From a request to an answer, the same for every door and every route."""
