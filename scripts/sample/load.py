"""Load the sample into a running server, if it has it not: ``load.py URL``."""

import sys
import urllib.error

from sample import COLLECTION, Server, load

READY_SECONDS_MAX = 60


def main():
    server = Server(sys.argv[1])
    if not server.wait_until_ready(READY_SECONDS_MAX):
        return 1
    try:
        server.call("GET", f"/v1/vector/{COLLECTION}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        count, seconds = load(server)
        print(
            f"loaded {count} package descriptions into the collection {COLLECTION!r} "
            f"in {seconds:.1f} s; try {server.url}/v1/vector/{COLLECTION}",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
