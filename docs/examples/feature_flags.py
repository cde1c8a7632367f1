"""Feature flags: a key each, known to every process at once, and asked without the network.

``python feature_flags.py set search on``, ``... set checkout 20`` (percent of users), ``... list``,
``... watch`` (prints what changes).
"""

import sys
import threading
import zlib
from typing import Any

from kissvdb.client import Client, Event, Gap
from kissvdb.errors import KissError

PREFIX = "flag:"


class Flags:
    """All flags in memory, kept up by the live stream in a thread. While the server is away the
    last known ones hold."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._values: dict[str, Any] = {}
        # Follow first, then read: what changes in between comes twice rather than never.
        self._stream = client.stream.events(since="now", key_prefix=PREFIX)
        self._stream.__enter__()
        self._read_all()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def is_on(self, name: str, user: str = "", *, default: bool = False) -> bool:
        """Whether a flag is on for a user. The same user always gets the same answer, and one who
        is in at 20 percent stays in at 30."""
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        return zlib.crc32(f"{name}\0{user}".encode()) % 100 < value

    def set(self, name: str, value: bool | int) -> int:
        """On, off, or for so many percent of users; the offset from which on it holds."""
        return self.client.state.put(PREFIX + name, value).offset

    def all(self) -> dict[str, Any]:
        return dict(self._values)

    def close(self) -> None:
        self._stream.close()

    def changes(self) -> Any:
        """What happens to flags from now on: name and value, None when one is gone."""
        for event in self._stream:
            if isinstance(event, Gap):
                # What was missed is not told: read all anew.
                self._read_all()
            elif isinstance(event, Event) and event.type.startswith("state_"):
                name = event.data["key"].removeprefix(PREFIX)
                self._values[name] = event.data.get("value")
                yield name, event.data.get("value")

    def _read_all(self) -> None:
        items = self.client.state.items(PREFIX)
        self._values = {item.key.removeprefix(PREFIX): item.value for item in items}

    def _follow(self) -> None:
        try:
            for _ in self.changes():
                pass
        except (KissError, OSError) as problem:
            print(f"flags are followed no more: {problem}", file=sys.stderr)


def main(command: str = "list", name: str = "", value: str = "on") -> None:
    with Client() as client:
        if command == "set":
            given = int(value) if value.isdigit() else value == "on"
            print("from offset", client.state.put(PREFIX + name, given).offset)
        elif command == "watch":
            with client.stream.events(since="now", key_prefix=PREFIX) as stream:
                for event in stream:
                    print(event.data, flush=True)
        else:
            for item in client.state.items(PREFIX):
                print(item.key.removeprefix(PREFIX), item.value)


if __name__ == "__main__":
    main(*sys.argv[1:])
