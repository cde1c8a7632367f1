"""Threads as they are, or as they were at an offset."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from kissvdb.adapters.blobs import unpack
from kissvdb.client import Client
from kissvdb.errors import NotFound
from kissvdb.langgraph.filters import passes, scalar
from kissvdb.langgraph.keys import Keys, Place, Tip

TOKEN = "__kissvdb_tip"
"""In the config of what was read: the offset of the tip as it was then. A run that goes on from an
older checkpoint may do so as long as that is still so. LangGraph leaves names with two underscores
out of metadata."""


@attrs.frozen
class Record:
    """A checkpoint without the values that lie in blobs."""

    id: str
    parent: str | None
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    blobs: Sequence[str]
    """The channels whose values do."""

    def has(self, channel: str) -> bool:
        """Whether a value of the channel is stored with it."""
        return channel in self.blobs or channel in self.checkpoint["channel_values"]


class Reader:
    """``at``: as of this offset; None: now."""

    def __init__(
        self, client: Client, name: str, serde: SerializerProtocol, at: int | None
    ) -> None:
        self.client = client
        self.keys = Keys(name)
        self.serde = serde
        self.at = at

    def copy(self, **changed: Any) -> Any:
        """The same, but for these members."""
        made = copy.copy(self)
        for name, value in changed.items():
            setattr(made, name, value)
        return made

    def tip(self, place: Place) -> Tip | None:
        """None: the place is empty."""
        tip = self.tip_there(place)
        return tip if tip is not None and self.lives(tip) else None

    def tip_there(self, place: Place) -> Tip | None:
        """Also one whose time is over."""
        item = self.client.state.get(self.keys.tip(place), at=self.at)
        return None if item is None else Tip.of(item)

    def lives(self, tip: Tip) -> bool:
        """Whether it still counts."""
        return True

    def tips(self, thread: str | None = None) -> Iterator[Tip]:
        """Of all namespaces of a thread, or of all threads."""
        return map(Tip.of, self.client.state.items(self.keys.tips(thread), at=self.at))

    def record(self, tip: Tip, id: str) -> Record | None:
        """A checkpoint of the tip's place and life, or None."""
        item = self.client.state.get(self.keys.checkpoint(tip.place, id), at=self.at)
        if item is None or item.value["life"] != tip.life or item.value["id"] != id:
            return None
        value = item.value
        data = unpack(self.client, value, self.keys.pieces(tip.place), at=self.at)
        if data is None:
            return None
        found = self.serde.loads_typed((value["t"], data))
        return Record(id, value["parent"], found["checkpoint"], found["metadata"], found["blobs"])

    def chain(self, tip: Tip, id: str | None) -> Iterator[Record]:
        """A checkpoint, its parent, the parent of that, as far as they are there."""
        while id is not None:
            record = self.record(tip, id)
            if record is None:
                return
            yield record
            id = record.parent

    def value(self, place: Place, record: Record, channel: str) -> Any:
        """What a channel holds in a checkpoint that `has` it. Raises NotFound."""
        values = record.checkpoint["channel_values"]
        if channel in values:
            return values[channel]
        version = record.checkpoint["channel_versions"][channel]
        item = self.client.state.get(self.keys.blob(place, channel, version), at=self.at)
        if item is not None:
            data = unpack(self.client, item.value, self.keys.pieces(place), at=self.at)
            if data is not None:
                return self.serde.loads_typed((item.value["t"], data))
        raise NotFound(
            f"checkpoint {record.id} of thread {place.thread!r}: the value of {channel!r} is not "
            "there any more: the thread is being deleted or pruned"
        )

    def writes(self, place: Place, id: str) -> list[PendingWrite]:
        """The writes on top of a checkpoint, in the order in which they are applied."""
        found = []
        counts: dict[str, int] = {}
        for item in self.client.state.items(self.keys.writes(place, id), at=self.at):
            value = item.value
            counts[value["task"]] = counts.get(value["task"], 0) + (value["idx"] >= 0)
            found.append(value)
        wanted: dict[str, int] = {}
        for value in found:
            task = value["task"]
            wanted[task] = max(wanted.get(task, 0), value.get("of", 0))
        # Of a task whose many writes came only in part (a crash), none: it is done again.
        found = [each for each in found if counts[each["task"]] >= wanted[each["task"]]]
        found.sort(key=lambda each: writes_sort_key(each["path"], each["task"], each["idx"]))
        loaded = []
        for value in found:
            data = unpack(self.client, value, self.keys.pieces(place), at=self.at)
            if data is not None:
                loaded.append(
                    (value["task"], value["channel"], self.serde.loads_typed((value["t"], data)))
                )
        return loaded

    def whole(self, tip: Tip, record: Record) -> CheckpointTuple:
        """A checkpoint with all that belongs to it."""
        place = tip.place
        values = dict(record.checkpoint["channel_values"])
        for channel in record.blobs:
            values[channel] = self.value(place, record, channel)
        return CheckpointTuple(
            config=_config(place, record.id, tip),
            checkpoint={**record.checkpoint, "channel_values": values},
            metadata=record.metadata,
            parent_config=None if record.parent is None else _config(place, record.parent, tip),
            pending_writes=self.writes(place, record.id),
        )

    def find(
        self,
        thread: str | None,
        ns: str | None,
        id: str | None,
        filter: Mapping[str, Any] | None,
        before: str | None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints that fulfil all of that, the newest first."""
        tips: dict[Place, Tip | None] = {}
        for head in self._heads(thread, ns, id, filter or {}, before):
            place = Place(head["thread"], head["ns"])
            if place not in tips:
                tips[place] = self.tip(place)
            tip = tips[place]
            if tip is None or tip.life != head["life"]:
                continue
            record = self.record(tip, head["id"])
            if record is not None and passes(record.metadata, filter):
                yield self.whole(tip, record)

    def _heads(
        self,
        thread: str | None,
        ns: str | None,
        id: str | None,
        filter: Mapping[str, Any],
        before: str | None,
    ) -> Iterator[Mapping[str, Any]]:
        wanted = {"thread": thread, "ns": ns, "id": id}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        if self.at is None:
            asked: dict[str, Any] = {name: {"$eq": value} for name, value in wanted.items()}
            conditions = [asked]
            if before is not None:
                conditions.append({"id": {"$lt": before}})
            for name, value in filter.items():
                # What else there may be to filter by is looked at in the metadata itself.
                if scalar(value):
                    conditions.append({f"meta.{name}": {"$eq": value}})
            for document in self.client.doc.all(
                self.keys.name, {"$and": conditions}, sort="-id,thread,ns"
            ):
                yield document.doc
            return
        # The past is only told by keys.
        prefix = f"doc:{self.keys.name}:"
        if thread is not None:
            prefix += self.keys.document(Place(thread, ""), "").split(":")[0] + ":"
        heads = [item.value for item in self.client.state.items(prefix, at=self.at)]
        heads.sort(key=lambda head: head["id"], reverse=True)
        for head in heads:
            same = all(head[name] == value for name, value in wanted.items())
            if same and (before is None or head["id"] < before):
                yield head


def _config(place: Place, id: str, tip: Tip) -> Any:
    return {
        "configurable": {
            "thread_id": place.thread,
            "checkpoint_ns": place.ns,
            "checkpoint_id": id,
            TOKEN: tip.offset,
        }
    }
