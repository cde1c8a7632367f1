"""What collections of vectors and of documents have in common: kernels, files and upkeep."""
