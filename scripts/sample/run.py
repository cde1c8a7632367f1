"""Serve, and have the sample loaded into a new database: ``run.py [FLAG...]``, flags of serve.

This process becomes the server. It writes its address into a file once it serves, so that the
loader beside it can meet no other server.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def main():
    flags = sys.argv[1:]
    address = Path(tempfile.mkdtemp(prefix="kissvdb-run-")) / "url"
    # The loader begins deaf to Ctrl-C: it has words for it only when it is up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load = Path(__file__).with_name("load.py")
    subprocess.Popen([sys.executable, load, address, *flags], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve = [sys.executable, "-m", "kissvdb", "serve", "--url-file", str(address), *flags]
    os.execv(sys.executable, serve)


if __name__ == "__main__":
    main()
