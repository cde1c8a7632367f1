"""What the benches share: load programs, servers to load, reports."""
