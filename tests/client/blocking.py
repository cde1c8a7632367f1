"""Makes `kissvdb.client.blocking` of `kissvdb.client.aio`: ``python -m tests.client.blocking``.

Both are committed; a test holds one to the other.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "kissvdb" / "client" / "aio"
TARGET = ROOT / "kissvdb" / "client" / "blocking"
BY_HAND = {"__init__.py", "net.py"}

WORDS = {
    "AsyncClient": "Client",
    "AsyncIterator": "Iterator",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "Safe to share between tasks": "Safe to share between threads",
    "kissvdb.client.aio": "kissvdb.client.blocking",
}
_WORDS = re.compile(r"\b(" + "|".join(map(re.escape, WORDS)) + r")\b")
_AWAITABLE = re.compile(r"\bAwaitable\[(\w+)\]")
_ASYNC = re.compile(r"\b(async|await) ")


def names():
    return sorted(path.name for path in SOURCE.glob("*.py") if path.name not in BY_HAND)


def made(name):
    """The text of the file, formatted as all others are."""
    text = (SOURCE / name).read_text()
    text = _AWAITABLE.sub(r"\1", text)
    text = _ASYNC.sub("", _WORDS.sub(lambda found: WORDS[found[1]], text))
    for step in (["check", "--select", "I,F401", "--fix-only", "-q"], ["format", "-q"]):
        command = [sys.executable, "-m", "ruff", *step, "--stdin-filename", f"{TARGET}/{name}", "-"]
        text = subprocess.run(
            command, input=text, text=True, capture_output=True, check=True
        ).stdout
    return text


if __name__ == "__main__":
    for each in names():
        (TARGET / each).write_text(made(each))
