"""`kissvdb service`: the systemd unit of this installation, written, looked at and removed.

`unit` is its text, `place` where it lies and what systemd says of it. Nothing is ever started.
"""
