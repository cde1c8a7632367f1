"""HTTP without a server: handlers, routes, errors and descriptions over plain attrs types."""
