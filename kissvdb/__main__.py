"""``python -m kissvdb`` is the ``kissvdb`` command."""

import sys

from kissvdb.cli import main

if __name__ == "__main__":
    sys.exit(main())
