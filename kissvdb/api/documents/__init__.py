"""Documents over HTTP: state keys that are found by what is in them."""
