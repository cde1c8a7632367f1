"""`subscriptions/listen`: an answer that tells, as long as the client stays, what has changed.

It is made of the live stream of whoever asks, so it tells nothing that the key may not see. A
notification says that something is to be read again, not what it is now: whatever happened to a
resource between two of them is one, and after a gap all have changed.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from math import inf
from typing import Any

import attrs
import msgspec
import trio

from kissvdb.api.mcp.asking import Asker, Failed
from kissvdb.api.mcp.changes import KEY_TYPES, Gap, Happened, Subject, events_of, subject_of
from kissvdb.api.mcp.changes import document_of as document_of_key
from kissvdb.api.mcp.protocol import SUBSCRIPTION_KEY, Id
from kissvdb.api.mcp.resources import Address, collections
from kissvdb.core.events.stream import HEARTBEAT

URIS_MAX = 256
LIST_INTERVAL_SECS = 1.0
"""The list of collections is looked at no more often than that."""

_json = msgspec.json.encode


@attrs.frozen
class Wanted:
    """What is told. ``uris`` by what they name: keys, collections, vectors."""

    addresses: Mapping[str, Address]
    lists: bool
    by_name: Mapping[tuple[str, ...], str] = attrs.field(init=False)

    @by_name.default
    def _by_name(self) -> Mapping[tuple[str, ...], str]:
        return {_name(address): uri for uri, address in self.addresses.items()}

    @property
    def filters(self) -> dict[str, Any]:
        """What the stream can leave out itself."""
        if self.lists or len(self.addresses) != 1:
            return {}
        (address,) = self.addresses.values()
        if address.key is not None:
            return {"key": address.key}
        if address.kind == "vector":
            return {"collection": address.name}
        return {}

    def touched(self, subject: Subject) -> Iterable[str]:
        """The resources that have changed with what an event is about."""
        names: list[tuple[str, ...]] = []
        if subject.key:
            names.append(("key", subject.key))
            document = document_of_key(subject.key)
            if document is not None:
                names.append(("doc", document[0]))
        if subject.collection:
            names.append(("vector", subject.collection))
            names.append(("vector", subject.collection, subject.id))
        return [self.by_name[name] for name in names if name in self.by_name]


def _name(address: Address) -> tuple[str, ...]:
    if address.key is not None:
        return ("key", address.key)
    parts = (address.kind, address.name)
    return parts if address.id is None else (*parts, address.id)


class Listening:
    """The body of the answer: frames, until the client leaves, the server stops or the key ends."""

    def __init__(
        self,
        asker: Asker,
        id_: Id,
        wanted: Wanted,
        blobs: AsyncIterator[bytes],
        known: frozenset[tuple[str, str]],
    ) -> None:
        """``known``: the collections that there were when ``blobs`` had begun."""
        self._asker = asker
        self._meta = {SUBSCRIPTION_KEY: id_}
        self._id = id_
        self._wanted = wanted
        self._blobs = blobs
        self._known = known
        # When to look at the list of collections; inf: nothing was said to change it.
        self._look_at = inf
        self._looked_at = -inf
        self._begun = self._over = False

    def __aiter__(self) -> "Listening":
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:
            self._begun = True
            return self._acknowledged()
        while not self._over:
            if self._look_at <= trio.current_time():
                if await self._list_changed():
                    return self._notification("notifications/resources/list_changed", {})
                continue
            # A stream that is cut short here has lost nothing: it keeps its place.
            with trio.move_on_at(self._look_at):
                try:
                    blob = await anext(self._blobs)
                except StopAsyncIteration:
                    self._over = True
                    return self._ended()
                told = HEARTBEAT if blob == HEARTBEAT else self._told(blob)
                if told:
                    return told
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the stream up. Safe to call again."""
        self._over = True
        close: Callable[[], Any] | None = getattr(self._blobs, "aclose", None)
        if close is not None:
            await close()

    def _told(self, blob: bytes) -> bytes:
        touched: dict[str, None] = {}
        for event in events_of(blob):
            if isinstance(event, Gap):
                touched = dict.fromkeys(self._wanted.addresses)
                self._look_soon()
                continue
            subject = subject_of(event)
            touched.update(dict.fromkeys(self._wanted.touched(subject)))
            if self._wanted.lists and self._may_change_list(event, subject):
                self._look_soon()
        method = "notifications/resources/updated"
        return b"".join(self._notification(method, {"uri": uri}) for uri in touched)

    def _may_change_list(self, event: Happened, subject: Subject) -> bool:
        if event.type in ("vector_collection_created", "vector_collection_deleted"):
            return True
        if event.type not in KEY_TYPES:
            return False
        document = document_of_key(subject.key)
        if document is None:
            return subject.key.startswith("docs:")
        return event.type == "state_deleted" or ("doc", document[0]) not in self._known

    def _look_soon(self) -> None:
        if self._wanted.lists and self._look_at == inf:
            self._look_at = max(trio.current_time(), self._looked_at + LIST_INTERVAL_SECS)

    async def _list_changed(self) -> bool:
        self._look_at, self._looked_at = inf, trio.current_time()
        try:
            now = frozenset(each[:2] for each in await collections(self._asker))
        except Failed:
            # Over a limit, or the server stops: the next look tells.
            self._look_soon()
            return False
        former, self._known = self._known, now
        return now != former

    def _acknowledged(self) -> bytes:
        agreed: dict[str, Any] = {}
        if self._wanted.addresses:
            agreed["resourceSubscriptions"] = list(self._wanted.addresses)
        if self._wanted.lists:
            agreed["resourcesListChanged"] = True
        method = "notifications/subscriptions/acknowledged"
        return self._notification(method, {"notifications": agreed})

    def _notification(self, method: str, params: Mapping[str, Any]) -> bytes:
        params = {**params, "_meta": self._meta}
        return _frame({"jsonrpc": "2.0", "method": method, "params": params})

    def _ended(self) -> bytes:
        result = {"resultType": "complete", "_meta": self._meta}
        return _frame({"jsonrpc": "2.0", "id": self._id, "result": result})


def _frame(message: Mapping[str, Any]) -> bytes:
    return b"event: message\ndata: %b\n\n" % _json(message)
