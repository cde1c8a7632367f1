"""Numbers and hits as JSON text, in and out, without a Python object for each."""
