"""The model of documents: state keys ``doc:<collection>:<id>``, indexed beside their shards."""
