"""Load the sample into the server that this process's parent is to become, if its database is
new or an earlier load was broken off: ``load.py URL_FILE [FLAG...]``, flags of serve."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

# Ctrl-C ends the load without a word; the next start finishes it.
signal.signal(signal.SIGINT, signal.SIG_DFL)

MARK = "sample.unfinished"
"""In the data directory, while the sample is not loaded in full."""

JSON = "'content-type: application/json'"
HINTS = """\
kissvdb serves on {url} (data in {data}). The page: {url}/
In another terminal, try:

  curl -X PUT {url}/v1/state/job:1 -H {json} -d '{{"value":{{"progress":0.5}}}}'
  curl {url}/v1/state/job:1
  curl -N "{url}/v1/stream?since=0&vectors=false"
  curl {url}/v1/vector/debian/search -H {json} -d '{{"text":"music player","k":3,"highlight":true}}'
  curl {url}/v1/doc/packages/find -H {json} -d '{{"sort":["-size_kb"],"limit":3}}'

The API with a form for every call: {url}/docs"""


def main():
    address, flags, server = Path(sys.argv[1]), sys.argv[2:], os.getppid()
    url = address_in(address, server)
    shutil.rmtree(address.parent, ignore_errors=True)
    if url is None:
        return 0
    from kissvdb.cli import settings_of

    config = settings_of(["serve", *flags]).config
    data_dir = None if config.storage.memory else Path(config.storage.data_dir)
    try:
        load_if_new(url, config.server.api_key, data_dir)
    except (OSError, SystemExit) as error:
        print(
            f"the sample is not loaded in full ({error}): the next start goes on", file=sys.stderr
        )
        if os.getppid() != server:
            return 1
    print(HINTS.format(url=url, data=data_dir or "memory", json=JSON), flush=True)
    if config.server.api_key:
        print("It asks for the API key: add -H 'x-api-key: ...' to each call.", flush=True)
    return 0


def address_in(file, server):
    """What the process ``server`` writes there once it serves; None when it ends before."""
    while os.getppid() == server:
        try:
            text = file.read_text()
        except FileNotFoundError:
            text = ""
        if text.endswith("\n"):
            return text.strip().replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        time.sleep(0.02)
    return None


def load_if_new(url, api_key, data_dir):
    """Raises OSError when the server is gone or refuses."""
    from sample import COLLECTION, Server, load

    server = Server(url, api_key)
    mark = None if data_dir is None else data_dir / MARK
    is_new = data_dir is None or server.call("GET", "/v1/ready")["offset"] == 0
    if not is_new and (mark is None or not mark.exists()):
        return
    if mark is not None:
        mark.touch()
    count, seconds = load(server)
    if mark is not None:
        mark.unlink()
    print(
        f"loaded {count} package descriptions into the collection {COLLECTION!r} "
        f"in {seconds:.1f} s; try {url}/v1/vector/{COLLECTION}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
