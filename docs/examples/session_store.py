"""Sessions of a web application: a key each, that ends by itself when nobody comes any more.

``python session_store.py`` shows what becomes of one.
"""

import secrets
import time
from typing import Any

from kissvdb.client import Client
from kissvdb.errors import NotFound


class Sessions:
    """A session lives for ``idle_ms`` after it was last seen."""

    def __init__(self, client: Client, idle_ms: int = 30 * 60 * 1000) -> None:
        self.client = client
        self.idle_ms = idle_ms

    def begin(self, user: str, **values: Any) -> str:
        """A new session; what goes into the cookie."""
        id = secrets.token_urlsafe(24)
        self.client.state.put(_key(id), {"user": user, **values}, ttl_ms=self.idle_ms)
        return id

    def seen(self, id: str, **changes: Any) -> dict[str, Any] | None:
        """The session, with changes, for another ``idle_ms``; None when it is over. One that ends
        at this very moment does not come back to life as half of itself."""
        try:
            self.client.state.patch(_key(id), changes, ttl_ms=self.idle_ms, create=False)
        except NotFound:
            return None
        item = self.client.state.get(_key(id))
        return None if item is None else item.value

    def end(self, id: str) -> bool:
        """Log out; whether there was such a session."""
        return self.client.state.delete(_key(id)).deleted

    def end_all(self, user: str) -> int:
        """Log a user out everywhere; of how many sessions."""
        mine = [item for item in self.client.state.items("session:") if item.value["user"] == user]
        return sum(self.client.state.delete(item.key).deleted for item in mine)


def _key(id: str) -> str:
    return f"session:{id}"


def main() -> None:
    with Client() as client:
        sessions = Sessions(client, idle_ms=500)
        first, second = sessions.begin("ana", theme="dark"), sessions.begin("ana")
        print("begun:", sessions.seen(first))
        print("changed:", sessions.seen(first, theme="light"))
        print("ended everywhere:", sessions.end_all("ana"), "sessions")
        print("after that:", sessions.seen(second))
        third = sessions.begin("bo")
        time.sleep(0.7)
        print("nobody came:", sessions.seen(third))


if __name__ == "__main__":
    main()
