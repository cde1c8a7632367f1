"""The event log as the engine knows it, and the kinds of it there are.

Only this room knows what a log is made of: files and io_uring, or memory.
"""
