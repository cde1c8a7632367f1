"""Under which keys a thread lies, and what its tip says.

A place is a thread and a namespace of it (that of a graph within the graph). ``T`` and ``N`` stand
for them, shortened where they are long:

    <name>:t:T:N                            the tip: the newest checkpoint
    <name>:p:T:N:c:<checkpoint>             a checkpoint, but for its larger values
    <name>:p:T:N:b:<channel>:<version>      a value of a channel
    <name>:p:T:N:w:<checkpoint>:<task>:<n>  a write of a task, on top of a checkpoint
    <name>:p:T:N:x:<blob>:<piece>           pieces of what is longer than a key's value may be
    document <name>/T:N:<checkpoint>        what a list chooses by

The tip decides. What lies there without one, or is of another ``life`` than it, is what a deletion
or the time to live has not removed yet, and is never read.
"""

import hashlib
import re
from typing import Any
from urllib.parse import quote

import attrs

from kissvdb.client import Item
from kissvdb.errors import RevisionMismatch

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{0,40}")


class ThreadConflict(RevisionMismatch):
    """Another worker has moved the thread on, or it was deleted or has expired: this one's
    checkpoint was not written. Read the thread's state and run the graph again from there."""


@attrs.frozen
class Place:
    """A thread and a namespace of it."""

    thread: str
    ns: str


@attrs.frozen
class Tip:
    """The newest checkpoint of a place. ``offset``: of its key, which changes whenever it does.
    ``life``: of the thread, another one after a deletion. ``touched_ms``: since when all parts of
    the thread have their full time to live."""

    id: str
    offset: int
    life: str
    touched_ms: int
    place: Place
    expires_at_ms: int | None

    @classmethod
    def of(cls, item: Item) -> "Tip":
        """From its key."""
        value = item.value
        place = Place(value["thread"], value["ns"])
        ends = item.expires_at_ms
        return cls(value["id"], item.offset, value["life"], value["touched_ms"], place, ends)


@attrs.frozen
class Keys:
    """The keys of all threads that are kept under one name."""

    name: str

    def tips(self, thread: str | None = None) -> str:
        """The prefix of a thread's tips, or of all."""
        return f"{self.name}:t:" if thread is None else f"{self.name}:t:{short(thread)}:"

    def tip(self, place: Place) -> str:
        """Of the tip."""
        return f"{self.tips(place.thread)}{short(place.ns)}"

    def thread(self, thread: str) -> str:
        """The prefix of all parts of a thread."""
        return f"{self.name}:p:{short(thread)}:"

    def parts(self, place: Place) -> str:
        """The prefix of all parts of a place."""
        return f"{self.thread(place.thread)}{short(place.ns)}:"

    def checkpoint(self, place: Place, id: str) -> str:
        """Of a checkpoint."""
        return f"{self.parts(place)}c:{short(id)}"

    def blob(self, place: Place, channel: str, version: Any) -> str:
        """Of a value."""
        return f"{self.parts(place)}b:{short(channel)}:{_escaped(str(version))}"

    def writes(self, place: Place, id: str, task: str = "") -> str:
        """The prefix of the writes on top of a checkpoint, or of those of one task."""
        prefix = f"{self.parts(place)}w:{short(id)}:"
        return f"{prefix}{short(task)}:" if task else prefix

    def pieces(self, place: Place) -> str:
        """The prefix of pieces."""
        return f"{self.parts(place)}x:"

    def document(self, place: Place, id: str) -> str:
        """The id of the document about a checkpoint."""
        return f"{short(place.thread)}:{short(place.ns)}:{short(id)}"


def short(name: str) -> str:
    """A name as a part of a key: as it is, or what stands for it. Never has a colon."""
    if _PLAIN.fullmatch(name):
        return name
    return "~" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _escaped(text: str) -> str:
    return quote(text, safe="") if len(text) <= 100 else short(text)
