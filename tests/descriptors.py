"""A process that may open nothing more, as one has it that has too many files open."""

import resource
from contextlib import contextmanager

# Standard input, output and error. With none at all poll(2) would refuse to look at any.
OPEN = 3


@contextmanager
def no_descriptors():
    """Within the block every open file, socket and pipe of this process is EMFILE; those that are
    open stay."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
