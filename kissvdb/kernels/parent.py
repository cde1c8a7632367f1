"""Processes that compile: they end with who waits for the code."""

import os
import threading


def end_with_parent() -> None:
    """End this process when the other end of its standard input is closed: its parent has died,
    however it did, and nobody waits for the code."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
