"""File descriptors: how many the process may have, and which of them are not for connections."""

import resource

RAISED_MAX = 1_048_576
RESERVED_MIN = 32
"""For the log's next segment, reads of old ones, SQLite, a backup, and what is being refused."""
RESERVED_MAX = 1024
RESERVED_SHARE = 8
_UNLIMITED = 2**31


def raise_limit() -> int:
    """Allow this process as many open files as it may allow itself; answers how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = RAISED_MAX if hard == resource.RLIM_INFINITY else min(hard, RAISED_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limit()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # macOS says that there is no limit, and has one.
        return limit()
    return limit()


def limit() -> int:
    """How many files this process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


def for_connections() -> int:
    """A connection whose descriptor has this number, or a higher one, is turned away.

    The kernel gives out the lowest free number, so all below are in use then, by whatever: what
    is left is for files. It needs no counting, and no connection can take it.
    """
    most = limit()
    reserved = min(max(RESERVED_MIN, most // RESERVED_SHARE), RESERVED_MAX)
    return max(most - reserved, most // 2)
