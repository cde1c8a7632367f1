"""Where the time of a request goes: its parts, and their way to a collector of traces."""
