"""The parts of the bench at a million vectors: data, contenders, their processes, the server."""
